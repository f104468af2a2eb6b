"""How far a training is, and who wants to know. Values and protocols only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """What, beside weights, optimiser and random states, a training needs to go on exactly.

    `step` steps are done, `inside` of them in epoch number `epoch`, which is the one to go on with.
    """

    step: int = 0
    epoch: int = 0
    inside: int = 0
    tokens: int = 0  # read so far, all processes' together
    trained: int = 0  # of these learned
    loss_scale: float = 0.0  # 0 before the first step
    good_steps: int = 0  # since the scale changed last
    best_loss: float | None = None  # of an evaluation
    best_step: int = 0
    worse: int = 0  # evaluations since the best one
    evaluated: int = 0  # after which step the last time


@dataclass(frozen=True, slots=True)
class Measured:
    """One optimiser step, over all processes."""

    step: int
    steps: int  # in all
    epoch: float
    loss: float  # mean over the step's trained tokens
    learning_rate: float
    gradient_norm: float
    tokens: int  # of this step, without padding
    trained: int
    seconds: float
    memory: int  # bytes at the most so far: of the device, or of the process on a host
    skipped: bool = False  # its gradients were not finite (float16), and were left out


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One pass over the evaluation samples."""

    step: int
    epoch: float
    loss: float
    tokens: int
    seconds: float


class Listener(Protocol):
    """Hears what happens, in the first process only; never raises."""

    def begun(self, at: Progress, steps: int) -> None: ...

    def measured(self, what: Measured) -> None: ...

    def evaluated(self, what: Evaluated) -> None: ...

    def saved(self, checkpoint: Path) -> None: ...


class Keeper(Protocol):
    """Writes checkpoints, whole or not at all; called by every process."""

    def save(self, at: Progress) -> Path: ...
