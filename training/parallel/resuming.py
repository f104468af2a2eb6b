"""Goes on from a checkpoint, if it is one of the same training."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from ...adapters.errors import StartError
from ..learner import Learner
from ..progress import Progress
from ..settings import TrainingSettings
from .folders import PROGRESS, STATE, is_whole, name_of
from .launch import Ranks
from .states import load_state

log = logging.getLogger(__name__)

# Settings that make another training of it. What only says how long, how fast or how often may
# change: the rate, the epochs, when to save and to evaluate.
FIXED = ("method", "seed", "packing", "group_by_length")
OF_METHOD = {
    "lora": ("lora_r", "lora_alpha", "lora_target_modules"),
    "qlora": ("lora_r", "lora_alpha", "lora_target_modules"),
    "ptuning": ("pre_seq_len", "prefix_projection"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be the same when a training goes on. `rows` go to all processes together at a
    time, `accumulation` times a step; `samples` is the digest of the data."""

    samples: str
    rows: int
    accumulation: int
    processes: int
    settings: dict[str, Any] = field(default_factory=dict)


def facts_of(settings: TrainingSettings, samples: str, processes: int) -> Facts:
    names = (*FIXED, *OF_METHOD.get(settings.method, ()))
    if settings.packing:
        names = (*names, "model_max_length")
    values = {name: getattr(settings, name) for name in names}
    return Facts(
        samples,
        settings.per_device_train_batch_size * processes,
        settings.gradient_accumulation_steps,
        processes,
        {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()},
    )


def resume(
    checkpoint: Path, learner: Learner, optimiser: Optimizer, ranks: Ranks, facts: Facts
) -> Progress:
    """Put learner and optimiser where they were, and say where that is; called by every process.

    With as many processes as before it goes on to the bit. Raises StartError, in all of them, for
    a checkpoint of another training.
    """
    at, before = ranks.by_first(lambda: read(checkpoint))
    ranks.by_first(lambda: check(checkpoint, before, facts))
    split = (before.rows, before.accumulation) != (facts.rows, facts.accumulation)
    if split and at.inside and ranks.first:
        log.warning(
            "%s has %d rows x %d a step, and here it is %d x %d: in this epoch some samples "
            "may come twice, and others not at all",
            *(checkpoint.name, before.rows, before.accumulation, facts.rows, facts.accumulation),
        )
    load_state(checkpoint / STATE, learner, optimiser, ranks)
    if ranks.first:
        log.info("training goes on step=%d checkpoint=%s", at.step, checkpoint)
    return at


def with_known_best(at: Progress, run: Path, ranks: Ranks) -> Progress:
    """`at`; without the best evaluation so far where the folder `run` has not its checkpoint, since
    those weights cannot be taken in the end. Called by every process."""
    if not at.best_step or ranks.by_first(lambda: is_whole(run / name_of(at.best_step))):
        return at
    if ranks.first:
        log.warning(
            "%s, the best one so far, is not in %s; the best of those to come is looked for",
            *(name_of(at.best_step), run),
        )
    return replace(at, best_loss=None, best_step=0, worse=0)


def read(checkpoint: Path) -> tuple[Progress, Facts]:
    """How far it was, and of what training; raises StartError."""
    file = checkpoint / STATE / PROGRESS
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Progress(**content.pop("progress")), Facts(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StartError(f"{file} cannot be read: {exc}") from exc


def check(checkpoint: Path, before: Facts, now: Facts) -> None:
    """Raises StartError with the first thing that differs and matters."""
    names = before.settings.keys() | now.settings.keys()
    for name in sorted(names, key=lambda name: (name != "method", name)):  # it decides the others
        was, wanted = before.settings.get(name), now.settings.get(name)
        if was != wanted:
            raise StartError(
                f"{checkpoint} was made with --{name} {_shown(was)}, and now it is "
                f"{_shown(wanted)}; say so again, or begin anew in another --output_dir"
            )
    if before.samples != now.samples:
        raise StartError(
            f"{checkpoint} was made with other samples: the data, the tokenizer or "
            "--model_max_length is another one; begin anew in another --output_dir"
        )
    was, wanted = before.rows * before.accumulation, now.rows * now.accumulation
    if was != wanted:
        raise StartError(
            f"{checkpoint} was made with {was} rows a step, and now it is {wanted}: "
            f"--per_device_train_batch_size {now.rows // now.processes} x {now.processes} "
            f"processes x --gradient_accumulation_steps {now.accumulation}; make it {was}"
        )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
