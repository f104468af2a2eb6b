"""The curves for TensorBoard, where it is asked for and installed."""

from pathlib import Path

from ...adapters.errors import StartError
from ..progress import Evaluated, Measured, Progress


class Board:
    """A Listener that writes TensorBoard's event files into `directory`."""

    def __init__(self, directory: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as exc:
            raise StartError(
                "--report_to tensorboard needs a package: pip install tensorboard"
            ) from exc
        self._new = lambda at: SummaryWriter(str(directory), purge_step=at.step + 1)
        self._writer: SummaryWriter | None = None

    def begun(self, at: Progress, steps: int) -> None:
        self._writer = self._new(at)

    def measured(self, what: Measured) -> None:
        """transformers' names, so that runs of both lie in one picture."""
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
        self._writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]
