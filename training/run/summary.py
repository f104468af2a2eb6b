"""What is left to say at a training's end: time, speed, loss, memory, and how to serve it."""

import math
import re
import shlex
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..progress import Evaluated, Measured, Progress
from ..settings import TrainingSettings
from .showing import mean_loss

LAST = 10  # steps whose mean is the final loss: a single batch says little
GIB = 2**30
NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
SERVE = "python -m danlu.worker --model-path"


class Account:
    """A Listener that adds up this start of the program; what went before it is not counted."""

    def __init__(self) -> None:
        self.step = self.steps = self.tokens = self.trained = self.memory = self.skipped = 0
        self.seconds = 0.0  # in steps, without loading, evaluating and saving
        self.best_loss: float | None = None  # of an evaluation
        self._last: deque[Measured] = deque(maxlen=LAST)

    def begun(self, at: Progress, steps: int) -> None:
        self.step, self.steps, self.best_loss = at.step, steps, at.best_loss

    def measured(self, what: Measured) -> None:
        self.step = what.step
        self.tokens += what.tokens
        self.trained += what.trained
        self.seconds += what.seconds
        self.skipped += what.skipped
        self.memory = max(self.memory, what.memory)
        self._last.append(what)

    def evaluated(self, what: Evaluated) -> None:
        if self.best_loss is None or what.loss < self.best_loss:
            self.best_loss = what.loss

    def saved(self, checkpoint: Path) -> None:
        return None

    @property
    def final_loss(self) -> float | None:
        loss = mean_loss(list(self._last))
        return loss if math.isfinite(loss) else None

    @property
    def speed(self) -> float:
        """Tokens per second, without padding."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def facts(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "tokens": self.tokens,
            "trained": self.trained,
            "tokens_per_second": round(self.speed, 1),
            "final_loss": self.final_loss,
            "best_evaluation_loss": self.best_loss,
            "memory": self.memory,
            "skipped": self.skipped,
        }


def told(account: Account, settings: TrainingSettings, end: str, *, whole: bool) -> list[str]:
    """The last lines on standard output; `end` says why it ended, `whole` whether the model was
    written into output_dir."""
    early = whole and account.step < account.steps
    why = [f"ended after step {account.step} of {account.steps}: {end}"] if early else []
    return [
        *_course(account),
        *why,
        *(_served(settings) if whole else _unfinished(account, settings)),
    ]


def _course(account: Account) -> list[str]:
    if not account.tokens:
        return [f"nothing was left to train: step {account.step} of {account.steps} was done"]
    said = [
        f"{account.seconds:.1f} s for {account.tokens} tokens ({account.speed:.0f} tokens/s), "
        f"{account.trained} of them trained; {account.memory / GIB:.2f} GiB at the most"
    ]
    if account.final_loss is not None:
        said.append(f"loss {account.final_loss:.4f} over the last steps")
    if account.best_loss is not None:
        said.append(f"evaluation loss {account.best_loss:.4f} at its best")
    if account.skipped:
        said.append(f"{account.skipped} steps were left out: float16 overflowed")
    return said


def _served(settings: TrainingSettings) -> list[str]:
    out, base = settings.output_dir, settings.model_name_or_path
    if settings.method == "full":
        return [f"the model is in {out}", *_commands([out])]
    generation = settings.chatglm_generation
    known = ["--chatglm-generation", str(generation)] if generation else []
    packed = ["--quantization", "int4"] if settings.method == "qlora" else []
    beside = ["--adapters", f"{adapter_name(settings.run_name)}={out}"]
    return [f"the adapter is in {out}", *_commands([base, *known, *packed, *beside])]


def _commands(arguments: Sequence[str]) -> list[str]:
    line = shlex.join(arguments)
    return [f"    {SERVE} {line}", f"    danlu up --model-path {line}"]


def _unfinished(account: Account, settings: TrainingSettings) -> list[str]:
    again = "the same command"
    anew = {
        "--overwrite_output_dir": settings.overwrite_output_dir,
        "--resume_from_checkpoint": settings.resume_from_checkpoint != "auto",
    }
    if given := [flag for flag, counts in anew.items() if counts]:
        again += f", without {' and '.join(given)},"
    return [
        f"stopped after step {account.step} of {account.steps}; {again} goes on from its last "
        "checkpoint"
    ]


def adapter_name(run: str) -> str:
    """The run's name as --adapters takes one."""
    plain = NO_NAME.sub("-", run).lstrip("._-")[:64]
    return plain or "tuned"
