"""When a training is evaluated, kept, and given up. Pure."""

import math
from dataclasses import replace

from ..progress import Progress
from ..settings import TrainingSettings


def evaluation_due(settings: TrainingSettings, at: Progress, steps: int) -> bool:
    """Whether the next thing is to evaluate; at the end it always is, unless it never is."""
    every = settings.eval_steps or settings.logging_steps
    return at.evaluated < at.step and _due(settings.eval_strategy, at, every, steps)


def save_due(settings: TrainingSettings, at: Progress, steps: int) -> bool:
    """Also where the best weights so far would be lost, if they are wanted in the end."""
    best = settings.load_best_model_at_end and at.best_step == at.step
    end = at.step if gone_stale(settings, at) else steps
    return best or _due(settings.save_strategy, at, settings.save_steps, end)


def gone_stale(settings: TrainingSettings, at: Progress) -> bool:
    """Whether the evaluation loss has not fallen for as long as one is willing to wait."""
    return 0 < settings.early_stopping_patience <= at.worse


def evaluated(settings: TrainingSettings, at: Progress, loss: float) -> Progress:
    """`at`, with this evaluation. A loss that is lower by too little is the best one all the same,
    but no reason to go on."""
    best = math.inf if at.best_loss is None else at.best_loss
    worse = 0 if loss < best - settings.early_stopping_threshold else at.worse + 1
    at = replace(at, evaluated=at.step, worse=worse)
    return replace(at, best_loss=loss, best_step=at.step) if loss < best else at


def _due(strategy: str, at: Progress, every: int, steps: int) -> bool:
    if strategy == "no" or not at.step:
        return False
    return at.step == steps or (at.inside == 0 if strategy == "epoch" else at.step % every == 0)
