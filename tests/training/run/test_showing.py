"""What a person sees of a training: transformers' lines, and the bar beside them."""

import io
import math

import pytest
from support.training import a_step, an_evaluation

from danlu.training.progress import Measured, Progress
from danlu.training.run.bar import TqdmBar
from danlu.training.run.showing import Bar, NoBar, Showing, line_of, mean_loss


class Noted(NoBar):
    def __init__(self) -> None:
        self.calls: list[tuple[float, ...]] = []

    def begin(self, done: int, steps: int) -> None:
        self.calls.append((done, steps))

    def move(self, step: int, loss: float) -> None:
        self.calls.append((step, loss))


def _showing(bar: Bar, every: int = 1, first: bool = False) -> tuple[Showing, list[str]]:
    said: list[str] = []
    showing = Showing(said.append, bar, every=every, first=first)
    showing.begun(Progress(), 10)
    return showing, said


def test_a_line_looks_as_the_seeds_does() -> None:
    showing, said = _showing(NoBar())
    showing.measured(a_step(1, 2.05764, learning_rate=4.9995181012051625e-05, epoch=0.03))
    assert said == [
        "{'loss': 2.0576, 'grad_norm': 1.5, 'learning_rate': 4.9995181012051625e-05, "
        "'epoch': 0.03, 'tokens/s': 200}"
    ]


def test_a_line_comes_every_so_many_steps_and_after_the_last_one() -> None:
    showing, said = _showing(NoBar(), every=4)
    for step in range(1, 11):
        showing.measured(a_step(step, float(step)))
    assert [line.partition(",")[0] for line in said] == [
        "{'loss': 2.5",
        "{'loss': 6.5",
        "{'loss': 9.5",
    ]


def test_the_first_step_has_a_line_where_it_is_asked_for() -> None:
    showing, said = _showing(NoBar(), every=5, first=True)
    showing.measured(a_step(1))
    assert len(said) == 1


def test_a_loss_is_the_mean_over_trained_tokens_of_steps_that_counted() -> None:
    steps = [a_step(1, 1.0, trained=30), a_step(2, 4.0, trained=10)]
    assert mean_loss(steps) == 1.75
    assert mean_loss([*steps, a_step(3, math.inf, skipped=True)]) == 1.75
    assert math.isnan(mean_loss([a_step(1, math.nan)]))


def test_steps_that_were_left_out_are_counted_in_the_line() -> None:
    left_out = a_step(1, math.inf, skipped=True)
    assert "'skipped': 2" in line_of([left_out, left_out, a_step(3)])
    assert "skipped" not in line_of([a_step(3)])


def test_an_evaluation_is_told_at_once() -> None:
    showing, said = _showing(NoBar(), every=100)
    showing.evaluated(an_evaluation(5, 0.00751))
    assert said == ["{'eval_loss': 0.00751, 'eval_runtime': 0.25, 'epoch': 0.50}"]


def test_the_bar_moves_with_every_step_from_where_it_goes_on() -> None:
    bar = Noted()
    showing, _ = _showing(bar, every=100)
    showing.begun(Progress(step=3), 10)
    steps: list[Measured] = [a_step(4, 1.5), a_step(5, 1.25)]
    for step in steps:
        showing.measured(step)
    assert bar.calls == [(0, 10), (3, 10), (4, 1.5), (5, 1.25)]


def test_tqdms_bar_shows_steps_loss_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    bar = TqdmBar(stream)
    bar.begin(3, 10)
    bar.move(5, 1.25)
    bar.close()
    assert "5/10 [" in stream.getvalue()
    assert "loss=1.2500" in stream.getvalue()
