"""`python -m danlu.training`: fine-tunes a model, alone or under torchrun."""

import os
import sys
from collections.abc import Mapping, Sequence

from ..adapters.devices.static_tls import cure
from ..adapters.errors import StartError
from ..adapters.host import logs, program
from .asking import Asked, asked, check_files
from .peers import Repeated
from .settings import TrainingSettings

NAME = "danlu.training"


def main() -> int:
    """The program; its exit status."""
    return program.run(NAME, lambda: train_as(sys.argv[1:], os.environ))


def train_as(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """The training that flags and environment describe; raises StartError, or SystemExit in a
    process that need not say why it ends."""
    rank = environ.get("RANK", "0")
    try:
        wish = asked(TrainingSettings, argv, environ)
        check_files(wish.settings)
    except StartError:
        if rank != "0":  # it reads what the first one reads
            sys.exit(2)
        raise
    logs.configure_one_of("train", rank)
    try:
        _train(wish, argv, environ)
    except Repeated:
        sys.exit(2)
    except StartError as exc:
        raise (exc if rank == "0" else StartError(f"process {rank}: {exc}")) from exc


def _train(wish: Asked[TrainingSettings], argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Imports torch."""
    try:
        from .program import train
    except ImportError as exc:
        if error := cure(exc):
            raise error from exc
        if exc.name is None:
            raise
        raise StartError(
            f"{exc.name} is not installed; the training's packages come with danlu[train]"
        ) from exc
    train(wish, argv, environ)


if __name__ == "__main__":
    program.leave(main())  # gloo's threads may still let go of tensors
