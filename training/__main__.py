"""`python -m danlu.training`: fine-tunes a model, alone or under torchrun."""

import os
import sys

from ..adapters.errors import StartError
from ..adapters.host import logs, program
from .asking import asked, check_files
from .peers import Repeated
from .settings import TrainingSettings

NAME = "danlu.training"


def main() -> int:
    """The program; its exit status."""
    return program.run(NAME, lambda: _train(sys.argv[1:]))


def _train(argv: list[str]) -> None:
    rank = int(os.environ.get("RANK", "0"))
    try:
        wish = asked(TrainingSettings, argv, os.environ)
        check_files(wish.settings)
    except StartError:
        if rank:  # it reads what the first one reads, which says what is wrong
            sys.exit(2)
        raise
    logs.configure_one_of("train", rank)
    try:
        from .program import train  # imports torch

        train(wish, argv, os.environ)
    except Repeated:
        sys.exit(2)
    except StartError as exc:
        raise (StartError(f"process {rank}: {exc}") if rank else exc) from exc


if __name__ == "__main__":
    sys.exit(main())
