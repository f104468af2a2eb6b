"""The learning rate from step to step, as transformers' schedules of the same names go. Pure."""

import math

from ..settings import TrainingSettings


def rate_of(settings: TrainingSettings, step: int, steps: int) -> float:
    """The rate of step number `step`, counted from 0, of `steps`."""
    warmup = warmup_of(
        steps, warmup_steps=settings.warmup_steps, warmup_ratio=settings.warmup_ratio
    )
    factor = rate_factor(settings.lr_scheduler_type, step, steps=steps, warmup=warmup)
    return settings.learning_rate * factor


def rate_factor(schedule: str, step: int, *, steps: int, warmup: int) -> float:
    """What the highest rate is multiplied with in step number `step`, from 0, of `steps`."""
    if schedule == "constant":
        return 1.0
    if step < warmup:
        return step / warmup
    if schedule == "constant_with_warmup":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    if schedule == "cosine":
        return max(0.0, 0.5 * (1 + math.cos(math.pi * done)))
    assert schedule == "linear", schedule
    return max(0.0, 1 - done)


def warmup_of(steps: int, *, warmup_steps: float, warmup_ratio: float) -> int:
    """Steps in which the rate rises. `warmup_steps` wins; below 1 it is a part, as the ratio is."""
    if warmup_steps >= 1:
        return int(warmup_steps)
    return math.ceil(steps * (warmup_steps or warmup_ratio))
