"""The loop as a whole, with tiny models."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from support.courses import (
    CPU,
    Heard,
    Kept,
    a_course,
    a_student,
    plain_descent,
    same_bits,
    sentences,
    weights,
)
from support.families import a_model
from support.tiny_glm import tiny_glm
from support.together import Rank, Together

from danlu.training.course.collate import collate
from danlu.training.course.loop import Diverged, End, train
from danlu.training.course.optimiser import optimiser_for
from danlu.training.course.precision import Precision
from danlu.training.course.student import Student
from danlu.training.learner import Batch, Learner
from danlu.training.progress import Progress
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

pytestmark = pytest.mark.slow

START = Progress()
HALF = Precision(torch.float16, scaled=True)


def some_settings(**changes: Any) -> TrainingSettings:
    plain: dict[str, Any] = {
        "num_train_epochs": 2,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 2,
        "save_strategy": "no",
    }
    return TrainingSettings(**{**plain, **changes})


def told_to_end_after(steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


def test_a_tiny_glm_learns_five_sentences_by_heart() -> None:
    settings = some_settings(num_train_epochs=100, per_device_train_batch_size=5)
    heard, samples = Heard(), sentences(5)
    course = a_course(settings, samples, listener=heard)
    outcome = train(course, START)
    assert (outcome.end, outcome.at.step, outcome.at.epoch) == (End.DONE, 100, 100)
    assert heard.losses[0] > 1
    assert heard.losses[-1] < 0.05
    model: Any = course.student.learner.model.train(False)
    for sample in samples:
        asked = torch.from_numpy(sample.ids[None, :3]).long()
        with torch.inference_mode():
            told = model.generate(asked, max_new_tokens=20, do_sample=False, eos_token_id=2)
        assert told[0].tolist() == sample.ids.tolist()


@pytest.mark.parametrize(
    ("rows", "accumulation", "packing"), [(2, 3, False), (1, 6, False), (2, 1, True)]
)
def test_batches_accumulation_and_packing_change_nothing_but_speed(
    rows: int, accumulation: int, packing: bool
) -> None:
    ways = [
        some_settings(per_device_train_batch_size=6, learning_rate=0.1),
        some_settings(
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulation,
            packing=packing,
            model_max_length=50,
            learning_rate=0.1,
        ),
    ]
    found = []
    for settings in ways:
        heard, model = Heard(), tiny_glm()
        student = a_student(settings, model, optimiser=plain_descent(model, 0.1))
        train(a_course(settings, sentences(6), student=student, listener=heard), START)
        found.append((heard, weights(student)))
    (whole, theirs), (parts, ours) = found
    assert whole.steps == parts.steps == 2
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    assert [m.trained for m in parts.measures] == [m.trained for m in whole.measures]
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_step_goes_down_the_gradient_of_the_mean_loss_of_trained_tokens() -> None:
    samples, model = sentences(4), tiny_glm()
    student = a_student(some_settings(), model, optimiser=plain_descent(model, 0.1))
    theirs: Any = tiny_glm().requires_grad_(True)
    batch = collate([[sample] for sample in samples])
    theirs(input_ids=batch.ids, labels=batch.labels).loss.backward()
    settings = some_settings(max_steps=1, gradient_accumulation_steps=2, max_grad_norm=0.0)
    train(a_course(replace(settings, learning_rate=0.1), samples, student=student), START)
    for (name, weight), other in zip(model.named_parameters(), theirs.parameters(), strict=True):
        moved = other.detach() - weight.detach()
        torch.testing.assert_close(moved, 0.1 * other.grad, rtol=1e-3, atol=1e-6, msg=name)


class Drawing(Learner):
    """Draws a number in each pass, as dropout does."""

    def __init__(self) -> None:
        super().__init__(tiny_glm().requires_grad_(True))
        self.drawn: list[float] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        self.drawn.append(torch.rand(()).item())
        return super().forward(batch)


@dataclass
class OneOfTwo:
    """A process whose neighbour has nothing to say."""

    rank: int
    count = 2
    first = False

    def total(self, *numbers: float) -> tuple[float, ...]:
        return numbers


def test_every_pass_of_every_process_drops_something_else() -> None:
    settings, drawn = some_settings(gradient_accumulation_steps=2), []
    for rank in (0, 1):
        learner = Drawing()
        student = Student(learner, optimiser_for(learner, settings), CPU)
        train(a_course(settings, sentences(16), student=student, peers=OneOfTwo(rank)), START)
        drawn += learner.drawn
    assert len(drawn) == len(set(drawn)) == 2 * 2 * 4


def test_three_processes_train_what_one_does_also_when_one_has_nothing_left() -> None:
    """Seven samples, two at a time for each: the last step has one row, and two processes none."""
    settings = some_settings(learning_rate=0.1, per_device_train_batch_size=2)
    evaluation = Listed(sentences(4, seed=1))

    def one_of(peers: Rank) -> tuple[Heard, dict[str, torch.Tensor]]:
        heard, model = Heard(), models[peers.rank]
        student = a_student(settings, model, optimiser=plain_descent(model, 0.1), peers=peers)
        parts = {"peers": peers, "listener": heard, "evaluation": evaluation}
        course = a_course(
            replace(settings, eval_strategy="epoch"), sentences(7), student=student, **parts
        )
        train(course, START)
        return heard, weights(student)

    models = [tiny_glm() for _ in range(3)]
    (first, ours), *others = Together(3).run(one_of)
    assert all(not heard.measures for heard, _ in others), "the first one speaks for all"

    alone, model = Heard(), tiny_glm()
    once = replace(settings, per_device_train_batch_size=6, eval_strategy="epoch")
    student = a_student(once, model, optimiser=plain_descent(model, 0.1))
    train(
        a_course(once, sentences(7), student=student, listener=alone, evaluation=evaluation), START
    )
    assert first.losses == pytest.approx(alone.losses, rel=1e-4)
    assert [e.loss for e in first.evaluations] == pytest.approx(
        [e.loss for e in alone.evaluations], rel=1e-4
    )
    for name, weight in ours.items():
        assert all(torch.equal(weight, theirs[name]) for _, theirs in others)
        torch.testing.assert_close(weight, weights(student)[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("packing", [False, True])
def test_a_training_that_ends_anywhere_goes_on_to_the_bit(packing: bool) -> None:
    settings = some_settings(
        save_strategy="steps",
        save_steps=1,
        gradient_accumulation_steps=2,
        num_train_epochs=2.5,
        lr_scheduler_type="cosine",
        packing=packing,
        model_max_length=24,
        eval_strategy="steps",
        eval_steps=2,
    )
    evaluation = Listed(sentences(3, seed=1))

    def a_run(at: Progress, state: Any = None) -> tuple[Any, Heard, Kept]:
        student = a_student(settings, a_model("llama", attention_dropout=0.3))
        if state:
            student.learner.load_state_dict(state[0])
            student.optimiser.load_state_dict(state[1])
        heard, kept = Heard(), Kept(student)
        parts = {"student": student, "keeper": kept, "listener": heard, "evaluation": evaluation}
        assert train(a_course(settings, sentences(11), **parts), at).end is End.DONE
        return student, heard, kept

    student, heard, kept = a_run(START)
    assert len(kept.at) == heard.steps > 4
    for at, state in zip(kept.at, kept.states, strict=True):
        again, rest, _ = a_run(at, state)
        assert rest.measures == heard.measures[at.step :]
        assert rest.evaluations == [e for e in heard.evaluations if e.step > at.step]
        assert same_bits(again, student)


def test_whoever_is_told_to_end_keeps_the_step_and_makes_up_for_the_evaluation() -> None:
    settings = some_settings(num_train_epochs=3, eval_strategy="epoch")
    heard, kept, evaluation = Heard(), Kept(), Listed(sentences(2))
    parts = {"keeper": kept, "listener": heard, "evaluation": evaluation}
    course = a_course(settings, sentences(4), interrupted=told_to_end_after(2), **parts)
    outcome = train(course, START)
    assert (outcome.end, outcome.at.step, outcome.at.epoch) == (End.INTERRUPTED, 2, 1)
    assert kept.at == [outcome.at]
    assert heard.checkpoints == ["checkpoint-2"]
    assert heard.evaluations == []
    train(replace(course, interrupted=lambda: False), outcome.at)
    assert [e.step for e in heard.evaluations] == [2, 4, 6]
    assert [e.epoch for e in heard.evaluations] == [1, 2, 3]


def test_all_processes_end_when_one_is_told_to() -> None:
    settings = some_settings(num_train_epochs=50)
    models = [tiny_glm() for _ in range(2)]

    def one_of(peers: Rank) -> Any:
        student = a_student(settings, models[peers.rank], peers=peers)
        told = told_to_end_after(3) if peers.rank else lambda: False
        course = a_course(settings, sentences(4), student=student, peers=peers, interrupted=told)
        return train(course, START)

    assert [(o.end, o.at.step) for o in Together(2).run(one_of)] == [(End.INTERRUPTED, 3)] * 2


def test_a_training_ends_when_the_evaluation_loss_falls_no_more() -> None:
    settings = some_settings(
        num_train_epochs=50,
        learning_rate=0.0,
        eval_strategy="steps",
        eval_steps=2,
        early_stopping_patience=3,
        save_strategy="steps",
        load_best_model_at_end=True,
    )
    heard, evaluation = Heard(), Listed(sentences(2))
    course = a_course(settings, sentences(4), listener=heard, evaluation=evaluation)
    outcome = train(course, START)
    assert (outcome.end, outcome.at.step) == (End.STALE, 8)
    assert (outcome.at.best_step, outcome.at.best_loss) == (2, heard.evaluations[0].loss)
    assert heard.checkpoints == ["checkpoint-2", "checkpoint-8"]


def test_max_steps_wins_over_epochs() -> None:
    heard = Heard()
    settings = some_settings(num_train_epochs=1, max_steps=5)
    outcome = train(a_course(settings, sentences(4), listener=heard), START)
    assert heard.steps == outcome.at.step == 5
    assert (outcome.at.epoch, outcome.at.inside) == (2, 1)


def test_what_is_measured_is_the_steps_own() -> None:
    heard, samples = Heard(), sentences(4)
    clock = iter(range(100))
    settings = some_settings(num_train_epochs=1, max_grad_norm=0.01, warmup_ratio=0.5)
    course = a_course(settings, samples, listener=heard, clock=lambda: float(next(clock)))
    at = train(course, START).at
    first, second = heard.measures
    assert (first.step, second.step, first.steps) == (1, 2, 2)
    assert (first.epoch, second.epoch) == (0.5, 1)
    assert (first.learning_rate, second.learning_rate) == (0, 1e-2)
    assert first.gradient_norm > 0.01, "as long as it was before it was shortened"
    assert first.tokens + second.tokens == at.tokens == sum(len(s.ids) for s in samples)
    assert first.trained + second.trained == at.trained == at.tokens - 3 * 4


def test_a_scale_that_is_too_large_leaves_a_step_out_and_is_halved() -> None:
    settings, heard = some_settings(num_train_epochs=40), Heard()
    student = a_student(settings, precision=HALF)
    at = Progress(loss_scale=2.0**30)
    outcome = train(a_course(settings, sentences(4), student=student, listener=heard), at)
    skipped = [m.skipped for m in heard.measures]
    assert skipped[0]
    assert 1 <= sum(skipped) < 25
    assert not any(skipped[40:]), "it fits by then"
    assert outcome.at.loss_scale == 2.0 ** (30 - sum(skipped))
    assert outcome.at.good_steps == skipped[::-1].index(True)
    assert heard.losses[-1] < 0.3 * heard.losses[0]


def test_a_step_that_is_left_out_changes_no_weight() -> None:
    settings = some_settings(max_steps=1)
    student = a_student(settings, precision=HALF)
    train(a_course(settings, sentences(4), student=student), Progress(loss_scale=2.0**60))
    assert same_bits(student, a_student(settings))


@pytest.mark.parametrize(("precision", "steps"), [(Precision(), 1), (HALF, 27)])
def test_losses_that_are_no_numbers_end_the_training(precision: Precision, steps: int) -> None:
    settings, heard = some_settings(num_train_epochs=100), Heard()
    student = a_student(settings, precision=precision)
    model: Any = student.learner.model
    model.get_output_embeddings().weight.data[5] = math.nan
    with pytest.raises(Diverged, match=f"step {steps} has the loss nan.*a lower --learning-rate"):
        train(a_course(settings, sentences(4), student=student, listener=heard), START)
    assert len(heard.measures) == steps - 1
