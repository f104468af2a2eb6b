"""All steps of a run, epoch after epoch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.training.course.timetable import Lesson, Timetable
from danlu.training.progress import Progress
from danlu.training.settings import TrainingSettings

LENGTHS = np.arange(5, 16)


def a_timetable(ranks: int = 1, lengths: Any = LENGTHS, **changes: Any) -> Timetable:
    plain: dict[str, Any] = {"num_train_epochs": 2, "per_device_train_batch_size": 2}
    return Timetable(TrainingSettings(**{**plain, **changes}), lengths, ranks)


def walked(table: Timetable, at: Progress | None = None) -> list[Lesson]:
    return list(table.after(at or Progress()))


@given(
    st.floats(0.1, 3.5),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 8),
)
def test_there_are_as_many_steps_as_are_told_before(
    epochs: float, ranks: int, accumulation: int, packing: bool, max_steps: int
) -> None:
    table = a_timetable(
        ranks,
        num_train_epochs=epochs,
        gradient_accumulation_steps=accumulation,
        packing=packing,
        model_max_length=24,
        max_steps=max_steps,
    )
    lessons = walked(table)
    assert len(lessons) == table.steps
    if not max_steps:
        last = lessons[-1]
        done = Progress(epoch=last.epoch + last.last, inside=0 if last.last else last.inside + 1)
        length = len([lesson for lesson in lessons if lesson.epoch == last.epoch])
        assert epochs <= table.passed(done) < epochs + 1 / max(1, length)


@given(st.integers(0, 12), st.booleans())
def test_what_is_left_is_the_rest(done: int, packing: bool) -> None:
    table = a_timetable(packing=packing, model_max_length=24)
    lessons = walked(table)
    at = Progress()
    for lesson in lessons[:done]:
        after = {"epoch": lesson.epoch + lesson.last, "inside": lesson.inside + 1}
        at = replace(at, step=at.step + 1, **{**after, **({"inside": 0} if lesson.last else {})})
    assert walked(table, at) == lessons[done:]


def test_a_part_of_an_epoch_is_rounded_up() -> None:
    assert a_timetable(num_train_epochs=1).steps == 6
    assert a_timetable(num_train_epochs=1.5).steps == 9
    assert a_timetable(num_train_epochs=0.01).steps == 1


def test_epochs_that_have_passed_are_told_with_their_parts() -> None:
    table = a_timetable()
    assert table.passed(Progress(epoch=1)) == 1
    assert table.passed(Progress(epoch=1, inside=3)) == 1.5


def test_no_samples_are_refused() -> None:
    with pytest.raises(StartError, match="no sample to train on"):
        a_timetable(lengths=np.array([], dtype=np.int64))
