"""The state of loading, and how it is shown."""

import io
import logging

import pytest
from support.engines import FakeEngine, says

from danlu.adapters.errors import NotReady
from danlu.worker.loading import Loading, Progress, loaded
from danlu.worker.showing import Shown


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(says("hello"))


def test_while_it_loads_the_refusal_says_how_far_it_is() -> None:
    loading = Loading()
    loading.progress.set(0.4, "weights")
    with pytest.raises(NotReady, match=r"still loading \(40%, weights\)") as caught:
        _ = loading.engine
    assert caught.value.retry_after is not None


def test_what_is_loaded_is_served(engine: FakeEngine) -> None:
    loading = loaded(engine)
    assert loading.engine is engine
    assert (loading.progress.state, loading.progress.fraction) == ("ready", 1.0)


def test_who_stops_takes_nothing_new(engine: FakeEngine) -> None:
    loading = loaded(engine)
    loading.stop()
    with pytest.raises(NotReady, match="stopping"):
        _ = loading.engine


def test_an_engine_that_arrives_after_the_stop_is_not_served(engine: FakeEngine) -> None:
    loading = Loading()
    loading.stop()
    loading.finish(engine)
    assert loading.progress.state == "stopping"
    with pytest.raises(NotReady, match="stopping"):
        _ = loading.engine


def test_progress_never_falls_and_stays_between_nothing_and_all() -> None:
    seen: list[float] = []
    progress = Progress(lambda fraction, _: seen.append(fraction))
    for fraction in (-1.0, 0.3, 0.1, 7.0):
        progress.set(fraction)
    assert seen == [0.0, 0.3, 0.3, 1.0]


def test_in_a_log_a_quarter_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    shown = Shown("m", None, tell=lambda _: None)
    with caplog.at_level(logging.INFO):
        for percent in range(101):
            shown(percent / 100, "weights")
    assert [r.getMessage() for r in caplog.records] == [
        f"loading model=m percent={percent} detail=weights" for percent in (0, 25, 50, 75, 100)
    ]


def test_in_a_terminal_a_bar_grows_and_ends_its_line() -> None:
    terminal = io.StringIO()
    shown = Shown("m", terminal, tell=lambda _: None)
    shown(0.5, "weights")
    shown(1.0, "weights")
    half, full = terminal.getvalue().split("\r")
    assert half.rstrip() == "m ████████████░░░░░░░░░░░░  50 % weights"
    assert full.rstrip() == "m ████████████████████████ 100 % weights"
    assert full.endswith("\n")


def test_systemd_hears_every_percent_once() -> None:
    told: list[str] = []
    shown = Shown("m", io.StringIO(), tell=told.append)
    for fraction in (0.101, 0.102, 0.11):
        shown(fraction, "weights")
    assert told == ["STATUS=loading m: 10 % weights", "STATUS=loading m: 11 % weights"]
