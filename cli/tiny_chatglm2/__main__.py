"""`python -m danlu.cli.tiny_chatglm2 OUT`: trains the tiny ChatGLM2 and writes it to OUT.

A program of its own, so that the rest of the command never loads torch.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ...adapters.errors import StartError
from ...adapters.host.program import run


def main() -> int:
    return run("danlu.cli.tiny_chatglm2", lambda: command(sys.argv[1:]))


def command(argv: Sequence[str]) -> None:
    """Raises StartError for anything but one directory, and where the model cannot be made."""
    if len(argv) != 1 or argv[0].startswith("-"):
        raise StartError("give one directory, which the model is written to")
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    try:
        from .making import make
    except ImportError as exc:
        raise StartError(
            f"{exc.name} is not installed; the worker's packages come with danlu[worker]"
        ) from exc
    make(Path(argv[0]), say=print)


if __name__ == "__main__":
    sys.exit(main())
