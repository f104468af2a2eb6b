"""The frame around a program's main(): one sentence and exit status 2 where it cannot start."""

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from ..errors import StartError


def run(name: str, main: Callable[[], None]) -> int:
    """Call `main` and return the exit status: 0, 2 for a StartError, 130 for Ctrl-C, its own."""
    try:
        main()
    except StartError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        if not isinstance(exc.code, int):
            raise
        return exc.code
    return 0


def leave(status: int) -> NoReturn:
    """End now, with all that was said written out, and nothing that is registered for the end.

    The interpreter's own way out would trip over a thread in the middle of torch, which aborts the
    process when it comes back to Python, or over a device that answers nothing.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
