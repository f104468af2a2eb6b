"""When to evaluate, to keep, and to give up."""

from typing import Any

from danlu.training.course.due import evaluated, evaluation_due, gone_stale, save_due
from danlu.training.progress import Progress
from danlu.training.settings import TrainingSettings

STEPS = 10


def evaluations(**changes: Any) -> list[int]:
    """After which steps, in two epochs of five."""
    settings = TrainingSettings(**changes)
    return [s for s in range(STEPS + 1) if evaluation_due(settings, _at(s), STEPS)]


def saves(**changes: Any) -> list[int]:
    settings = TrainingSettings(**changes)
    return [s for s in range(STEPS + 1) if save_due(settings, _at(s), STEPS)]


def _at(step: int) -> Progress:
    return Progress(step=step, epoch=step // 5, inside=step % 5, best_step=-1)


def test_nothing_is_due_where_nothing_is_asked_for() -> None:
    assert evaluations(eval_strategy="no") == saves(save_strategy="no") == []


def test_epochs_end_with_what_is_due_at_their_end() -> None:
    assert evaluations(eval_strategy="epoch") == saves(save_strategy="epoch") == [5, 10]


def test_steps_are_counted_and_the_last_one_is_due_anyway() -> None:
    assert evaluations(eval_strategy="steps", eval_steps=4) == [4, 8, 10]
    assert evaluations(eval_strategy="steps", logging_steps=3) == [3, 6, 9, 10]
    assert saves(save_strategy="steps", save_steps=4) == [4, 8, 10]


def test_no_step_is_evaluated_twice() -> None:
    settings = TrainingSettings(eval_strategy="epoch")
    assert not evaluation_due(settings, Progress(step=5, evaluated=5), STEPS)


def test_the_best_weights_are_kept_where_they_are_wanted() -> None:
    at = Progress(step=3, inside=3, best_step=3)
    assert save_due(TrainingSettings(save_strategy="no", load_best_model_at_end=True), at, STEPS)
    assert not save_due(TrainingSettings(save_strategy="no"), at, STEPS)


def test_whoever_gives_up_keeps_what_there_is() -> None:
    at = Progress(step=3, inside=3, worse=2)
    assert save_due(TrainingSettings(early_stopping_patience=2), at, STEPS)
    assert not save_due(TrainingSettings(early_stopping_patience=2, save_strategy="no"), at, STEPS)


def test_a_lower_loss_is_the_best_and_a_higher_one_counts() -> None:
    settings = TrainingSettings(early_stopping_patience=2)
    at = evaluated(settings, Progress(step=1), 2.0)
    assert (at.best_loss, at.best_step, at.worse, at.evaluated) == (2.0, 1, 0, 1)
    at = evaluated(settings, Progress(step=2, best_loss=2.0, best_step=1), 3.0)
    assert (at.best_loss, at.best_step, at.worse, at.evaluated) == (2.0, 1, 1, 2)
    assert not gone_stale(settings, at)
    assert gone_stale(settings, evaluated(settings, at, float("nan")))


def test_a_loss_that_is_hardly_lower_is_the_best_and_counts_all_the_same() -> None:
    settings = TrainingSettings(early_stopping_patience=1, early_stopping_threshold=0.1)
    at = evaluated(settings, Progress(step=2, best_loss=2.0, best_step=1), 1.95)
    assert (at.best_loss, at.best_step, at.worse) == (1.95, 2, 1)
    assert evaluated(settings, at, 1.8).worse == 0


def test_without_patience_one_never_gives_up() -> None:
    assert not gone_stale(TrainingSettings(), Progress(worse=1000))
