"""`danlu train`: checks what is asked for and becomes the training, or torchrun around several."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...adapters.errors import StartError
from ...adapters.host.settings import knob
from ...training.asking import asked, spelled
from ...training.settings import TrainingSettings
from .several import PROCESSES

MODULE = "danlu.training"
OURS = ("num_gpus",)
# On this machine alone, without asking what its name resolves to; torchrun finds a free port.
TORCHRUN = (
    "danlu.cli.train.several",
    "--nnodes=1",
    "--rdzv-backend=c10d",
    "--rdzv-endpoint=127.0.0.1:0",
    "--local-addr=127.0.0.1",
)

Become = Callable[[str, list[str]], object]


@dataclass(frozen=True, slots=True)
class TrainSettings(TrainingSettings):
    """Fine-tunes a model on conversations; or `danlu train inspect`, `compare` or `merge`."""

    num_gpus: int = knob(
        1,
        "processes on this machine, each with a card of its own, or with a part of the cores",
        low=1,
        aliases=("--num-npus", "--nproc", "--nproc-per-node"),
    )


def main(argv: Sequence[str], become: Become = os.execv) -> None:
    """Replaces this process, so that Ctrl-C, signals and the exit status are the training's own."""
    command = command_for(argv, os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        become(command[0], command)
    except OSError as exc:
        raise StartError(f"cannot start {command[0]}: {exc.strerror}") from exc


def command_for(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The program that trains as `argv` says; raises StartError for what cannot be meant."""
    wish = asked(TrainSettings, argv, environ, prog="danlu train")
    flags = [f"{spelled(name)}={text}" for name, text in wish.given.items() if name not in OURS]
    processes = wish.settings.num_gpus
    several = [*TORCHRUN, f"{PROCESSES}{processes}", "-m"] if processes > 1 else []
    return [sys.executable, "-m", *several, MODULE, *flags]
