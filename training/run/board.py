"""The curves for TensorBoard, where it is asked for and installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..progress import Evaluated, Measured, Progress


class Writer(Protocol):
    """What we need of torch's SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object: ...

    def close(self) -> object: ...


Open = Callable[[int], Writer]  # from a step on: what was written of later ones is void


def writer(directory: Path) -> Open:
    """Of event files in `directory`; wants TensorBoard's package."""
    from torch.utils.tensorboard import SummaryWriter

    kind: Any = SummaryWriter
    return lambda step: kind(str(directory), purge_step=step)


class Board:
    """A Listener with transformers' names for the curves: runs of both lie in one picture."""

    def __init__(self, opens: Open) -> None:
        self._open = opens
        self._writer: Writer | None = None

    def begun(self, at: Progress, steps: int) -> None:
        self._writer = self._open(at.step + 1)

    def measured(self, what: Measured) -> None:
        self._add("train/loss", what.loss, what.step)
        self._add("train/learning_rate", what.learning_rate, what.step)
        self._add("train/grad_norm", what.gradient_norm, what.step)
        self._add("train/epoch", what.epoch, what.step)
        self._add("train/tokens_per_second", what.tokens / (what.seconds or 1), what.step)

    def evaluated(self, what: Evaluated) -> None:
        self._add("eval/loss", what.loss, what.step)

    def saved(self, checkpoint: Path) -> None:
        return None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _add(self, name: str, value: float, step: int) -> None:
        assert self._writer is not None, "begun comes first"
        self._writer.add_scalar(name, value, step)
