"""The picture of a run: really drawn, often enough, and whole at any time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from support.training import a_step, an_evaluation

from danlu.training.progress import Progress
from danlu.training.run.curves import EVERY, Curves, figure_of, smoothed
from danlu.training.run.log import Log

pytestmark = pytest.mark.slow


def _run(folder: Path, clock: list[float]) -> tuple[Log, Curves]:
    log = Log(folder / "log.jsonl")
    curves = Curves(folder / "curves.png", folder / "log.jsonl", lambda: clock[0])
    return log, curves


def test_the_picture_is_drawn_and_not_blank(tmp_path: Path) -> None:
    _, curves = _run(tmp_path, [0.0])
    curves.begun(Progress(), 10)
    for step in range(1, 11):
        curves.measured(a_step(step, 3 / step))
    curves.evaluated(an_evaluation(10, 0.5))
    curves.close()
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert pixels.shape == (700, 1100, 3)
    quarters = [pixels[y : y + 350, x : x + 550] for y in (0, 350) for x in (0, 550)]
    for quarter in quarters:
        blue = (quarter[..., 2] > quarter[..., 0].astype(int) + 60).sum()
        assert blue > 100  # the curve
    orange = (pixels[..., 0] > pixels[..., 2].astype(int) + 150).sum()
    assert orange > 10  # the evaluation


def test_it_is_drawn_now_and_then_by_the_clock_given(tmp_path: Path) -> None:
    clock = [0.0]
    _, curves = _run(tmp_path, clock)
    curves.begun(Progress(), 10)
    curves.measured(a_step(1))
    assert not (tmp_path / "curves.png").exists()
    clock[0] = EVERY
    curves.measured(a_step(2))
    drawn = (tmp_path / "curves.png").stat().st_mtime_ns
    clock[0] = 1.5 * EVERY
    curves.measured(a_step(3))
    assert (tmp_path / "curves.png").stat().st_mtime_ns == drawn
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_what_takes_long_to_draw_is_drawn_more_seldom(tmp_path: Path) -> None:
    ticks = iter([0.0, EVERY, EVERY + 2, EVERY + 81, EVERY + 82, EVERY + 83])
    picture = tmp_path / "curves.png"
    curves = Curves(picture, tmp_path / "log.jsonl", lambda: next(ticks))
    drawn = []
    for step in (1, 2, 3):
        curves.measured(a_step(step))
        drawn.append(picture.exists())
        picture.unlink(missing_ok=True)
    assert drawn == [True, False, True]


def test_a_training_that_goes_on_draws_what_went_before(tmp_path: Path) -> None:
    log, _ = _run(tmp_path, [0.0])
    log.begun(Progress(), 10)
    for step in (1, 2, 3):
        log.measured(a_step(step, float(step)))
    log.evaluated(an_evaluation(3, 1.5))
    _, curves = _run(tmp_path, [0.0])
    curves.begun(Progress(step=2), 10)
    curves.measured(a_step(3, 9.0))
    assert [line["loss"] for line in curves.steps] == [1.0, 2.0, 9.0]
    assert curves.evaluations == []


def test_a_run_without_a_step_has_no_picture(tmp_path: Path) -> None:
    _, curves = _run(tmp_path, [0.0])
    curves.begun(Progress(), 10)
    curves.close()
    assert not (tmp_path / "curves.png").exists()


def test_losses_that_are_no_numbers_leave_gaps() -> None:
    steps = [{"step": n, "loss": None, "learning_rate": 1.0} for n in (1, 2)]
    figure = figure_of([{**step, "tokens": 1, "seconds": 0, "memory": 0} for step in steps], [])
    ((curve, _), *_) = (axes.lines for axes in figure.axes)
    assert np.isnan(np.asarray(curve.get_ydata(), dtype=float)).all()


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(-100, 100), max_size=40), st.floats(0, 9))
def test_a_smoothed_loss_lies_among_those_so_far(losses: list[float | None], span: float) -> None:
    for number, smooth in enumerate(smoothed(losses, span)):
        known = [loss for loss in losses[: number + 1] if loss is not None]
        if known:
            assert min(known) - 1e-9 <= smooth <= max(known) + 1e-9
        else:
            assert np.isnan(smooth)


def test_a_steady_loss_is_its_own_mean_from_the_first_step_on() -> None:
    assert smoothed([2.0, 2.0, None], 5) == pytest.approx([2.0, 2.0, 2.0])
