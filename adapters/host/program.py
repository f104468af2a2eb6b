"""The frame around a program's main(): one sentence and exit status 2 where it cannot start."""

import sys
from collections.abc import Callable

from ..errors import StartError


def run(name: str, main: Callable[[], None]) -> int:
    """Call `main` and return the exit status: 0, 2 for a StartError, 130 for Ctrl-C."""
    try:
        main()
    except StartError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
