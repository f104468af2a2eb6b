"""The training itself: step after step, until all are done, it no longer helps, or it is to end."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from torch import Tensor

from ...adapters.errors import StartError
from ..peers import Peers
from ..progress import Evaluated, Keeper, Listener, Measured, Progress
from ..sample import Sample, Samples
from ..settings import TrainingSettings
from .collate import collate
from .due import evaluated, evaluation_due, gone_stale, save_due
from .evaluation import evaluate
from .independence import look_at_packing
from .loss_scale import LEAST, LossScale
from .memory import most_memory
from .order import MicroBatch
from .rate import rate_of
from .student import Student
from .timetable import Lesson, Timetable

Read = list[list[Sample]]  # the samples of a micro-batch's rows


@dataclass(frozen=True, slots=True)
class Course:
    """All that takes part in a training.

    Rows are padded to a `multiple` of tokens. `interrupted` is asked in each step; once it says yes
    in one process, all end after that step, with a checkpoint.
    """

    settings: TrainingSettings
    student: Student
    samples: Samples
    peers: Peers
    keeper: Keeper
    listener: Listener
    evaluation: Samples | None = None
    multiple: int = 1
    interrupted: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic


class End(StrEnum):
    """Why a training ended."""

    DONE = "all steps are done"
    STALE = "the evaluation loss falls no more"
    INTERRUPTED = "it was told to end"


@dataclass(frozen=True, slots=True)
class Outcome:
    at: Progress
    end: End


class Diverged(StartError):
    """Losses or gradients that are no numbers; to go on would spoil the weights."""


def train(course: Course, at: Progress) -> Outcome:
    """Go on from `at`, which is where weights and optimiser are. All processes call it alike."""
    settings, student, peers = course.settings, course.student, course.peers
    timetable = Timetable(settings, course.samples.lengths, peers.count)
    steps = timetable.steps
    if peers.first:
        course.listener.begun(at, steps)
    if settings.packing:
        look_at_packing(student, course.samples)
    student.learner.train()
    if evaluation_due(settings, at, steps):  # whoever was interrupted had no time for it
        at = _evaluate(course, at, timetable.passed(at))
    for lesson in timetable.after(at):
        if gone_stale(settings, at):
            return Outcome(at, End.STALE)
        began = course.clock()

        # 1. read
        micros = [_read(course.samples, micro) for micro in lesson.step.ranks[peers.rank]]
        tokens, trained = map(int, peers.total(*_counts(micros)))
        scale = _scale(at, student)

        # 2. learn
        losses: list[Tensor] = []
        for number, micro in enumerate(micros):
            student.draw(settings.seed, at.step, number, peers.rank)
            batch = collate(micro, multiple=course.multiple)
            losses.append(student.learn(batch, scale.scale / max(1, trained)))
        loss, told = peers.total(float(sum(losses)) / max(1, trained), float(course.interrupted()))

        # 3. change
        rate = rate_of(settings, at.step, steps)
        norm = student.step(rate, longest=settings.max_grad_norm, scale=scale.scale)

        # 4. tell
        at = _after(at, lesson, tokens, trained, scale.after(math.isfinite(norm)), student)
        _look_at(loss, norm, at, student)
        if peers.first:
            course.listener.measured(
                Measured(
                    at.step,
                    steps,
                    epoch=timetable.passed(at),
                    loss=loss,
                    learning_rate=rate,
                    gradient_norm=norm,
                    tokens=tokens,
                    trained=trained,
                    seconds=course.clock() - began,
                    memory=most_memory(student.device),
                    skipped=not math.isfinite(norm),
                )
            )

        # 5. keep
        if told:
            _save(course, at)
            return Outcome(at, End.INTERRUPTED)
        if evaluation_due(settings, at, steps):
            at = _evaluate(course, at, timetable.passed(at))
        if save_due(settings, at, steps):
            _save(course, at)
    return Outcome(at, End.DONE)


def _read(samples: Samples, micro: MicroBatch) -> Read:
    return [[samples[i] for i in row] for row in micro]


def _counts(micros: Sequence[Read]) -> tuple[int, int]:
    """The tokens that are read, and those of them that are learned."""
    flat = [sample for micro in micros for row in micro for sample in row]
    return sum(len(s.ids) for s in flat), sum(int(s.trained.sum()) for s in flat)


def _scale(at: Progress, student: Student) -> LossScale:
    if not student.precision.scaled:
        return LossScale(1.0)
    return LossScale(at.loss_scale, at.good_steps) if at.loss_scale else LossScale()


def _after(
    at: Progress, lesson: Lesson, tokens: int, trained: int, scale: LossScale, student: Student
) -> Progress:
    scaled = student.precision.scaled
    return replace(
        at,
        step=at.step + 1,
        epoch=lesson.epoch + lesson.last,
        inside=0 if lesson.last else lesson.inside + 1,
        tokens=at.tokens + tokens,
        trained=at.trained + trained,
        loss_scale=scale.scale if scaled else 0.0,
        good_steps=scale.good if scaled else 0,
    )


def _look_at(loss: float, norm: float, at: Progress, student: Student) -> None:
    """A loss that is scaled may be scaled too much now and then; nothing else is forgiven."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    if student.precision.scaled and at.loss_scale >= LEAST:
        return
    either = "--bf16 instead of --fp16, or " if student.precision.scaled else ""
    raise Diverged(
        f"step {at.step} has the loss {loss} and gradients of length {norm}; "
        f"{either}a lower --learning-rate may keep them finite"
    )


def _evaluate(course: Course, at: Progress, epoch: float) -> Progress:
    """`at`, with what came out."""
    assert course.evaluation is not None, "there is nothing to evaluate on"
    began = course.clock()
    loss, tokens = evaluate(
        course.student,
        course.evaluation,
        course.peers,
        rows=course.settings.per_device_eval_batch_size,
        multiple=course.multiple,
    )
    if course.peers.first:
        seconds = course.clock() - began
        course.listener.evaluated(Evaluated(at.step, epoch, loss, tokens, seconds))
    return evaluated(course.settings, at, loss)


def _save(course: Course, at: Progress) -> None:
    checkpoint = course.keeper.save(at)
    if course.peers.first:
        course.listener.saved(checkpoint)
