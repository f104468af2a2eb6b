"""Several programs kept running: their order, their crashes, their ends."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from support.scripted import Shown, a_program, deeds, look_for_file, pid_of

from danlu.adapters.errors import StartError
from danlu.cli.restarts import Policy
from danlu.cli.supervisor import GaveUp, Program, Supervisor

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

SOON = 30.0  # seconds that small processes get on a busy machine
HASTY = Policy(first_pause=0.01, longest_pause=0.02, limit=3)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not done():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def supervised(
    *programs: Program, shown: Shown | None = None, grace: float = SOON
) -> AsyncIterator[tuple[Supervisor, "asyncio.Task[None]"]]:
    """A supervisor at work; whatever is left of its programs ends with the block."""
    supervisor = Supervisor(programs, shown or Shown(), look_for_file, policy=HASTY, grace=grace)
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, task
    finally:
        supervisor.stop()
        await asyncio.wait([task])


def three(place: Path, how: Sequence[str] = ("serves",) * 3) -> tuple[Program, ...]:
    return (
        a_program(place, "controller", how[0]),
        a_program(place, "worker", how[1], needs=("controller",)),
        a_program(place, "webui", how[2], needs=("controller",)),
    )


async def test_they_start_in_order_and_stop_in_the_reverse_one(tmp_path: Path) -> None:
    async with supervised(*three(tmp_path)) as (supervisor, task):
        await supervisor.ready()
        supervisor.stop()
        await task
    starts, ends = deeds(tmp_path)[:3], deeds(tmp_path)[3:]
    assert starts[0] == "controller starts"
    assert sorted(starts[1:]) == ["webui starts", "worker starts"]
    assert ends == ["webui ends", "worker ends", "controller ends"]


async def test_one_that_needs_another_waits_until_that_is_ready(tmp_path: Path) -> None:
    shown = Shown()
    async with supervised(*three(tmp_path, ["loads", "serves", "serves"]), shown=shown):
        await until(lambda: "controller: controller says hello" in shown.lines)
        assert deeds(tmp_path) == ["controller starts"]
        (tmp_path / "controller.ready").touch()
        await until(lambda: len(deeds(tmp_path)) == 3)


async def test_a_killed_one_is_started_again_and_the_others_stay(tmp_path: Path) -> None:
    shown = Shown()
    async with supervised(*three(tmp_path), shown=shown) as (supervisor, _):
        await supervisor.ready()
        first = pid_of(tmp_path, "worker")
        os.kill(first, signal.SIGKILL)
        await until(lambda: pid_of(tmp_path, "worker") != first)
        await supervisor.ready()
    assert "danlu: worker ended with SIGKILL; it is started again in 0.01 s" in shown.lines
    assert sorted(d for d in deeds(tmp_path) if d.endswith("starts")) == [
        "controller starts",
        "webui starts",
        "worker starts",
        "worker starts",
    ]


async def test_a_killed_one_counts_as_ready_only_once_it_is_ready_again(tmp_path: Path) -> None:
    async with supervised(a_program(tmp_path, "worker", "once")) as (supervisor, _):
        await supervisor.ready()
        (tmp_path / "worker.ready").unlink()
        os.kill(pid_of(tmp_path, "worker"), signal.SIGKILL)
        await until(lambda: deeds(tmp_path).count("worker starts") == 2)
        ready = asyncio.create_task(supervisor.ready())
        done, _ = await asyncio.wait([ready], timeout=0.1)
        assert not done
        (tmp_path / "worker.ready").touch()
        await asyncio.wait_for(ready, SOON)


async def test_one_that_cannot_start_ends_all_with_its_sentence(tmp_path: Path) -> None:
    async with supervised(*three(tmp_path, ["serves", "cannot", "serves"])) as (_, task):
        with pytest.raises(StartError, match="^worker cannot start: there is no such model$"):
            await task
    assert deeds(tmp_path).count("worker starts") == 1
    assert deeds(tmp_path)[-1] == "controller ends"


async def test_one_that_keeps_crashing_ends_all(tmp_path: Path) -> None:
    async with supervised(*three(tmp_path, ["serves", "crashes", "serves"])) as (_, task):
        with pytest.raises(GaveUp, match="worker keeps ending, at last with exit status 1"):
            await task
    assert deeds(tmp_path).count("worker starts") == 1 + HASTY.limit
    assert deeds(tmp_path)[-1] == "controller ends"


async def broken_of_two(place: Path, first: str, shown: Shown) -> None:
    """Kill the second of two workers, which cannot start again; return once it was tried often."""
    programs = (a_program(place, first), a_program(place, "worker-1", "breaks"))
    async with supervised(*programs, shown=shown) as (supervisor, task):
        await supervisor.ready()
        (place / "worker-1.ready").unlink()
        os.kill(pid_of(place, "worker-1"), signal.SIGKILL)
        tried = 2 + HASTY.limit
        await until(lambda: task.done() or deeds(place).count("worker-1 starts") > tried)
        if task.done():
            await task


async def test_one_card_of_several_is_tried_again_for_as_long_as_another_one_serves(
    tmp_path: Path,
) -> None:
    shown = Shown()
    await broken_of_two(tmp_path, "worker-0", shown)
    words = "worker-1 ended with exit status 2; it is started again in 0.02 s"
    assert shown.lines.count(f"danlu: {words}") > HASTY.limit
    assert deeds(tmp_path).count("worker-0 starts") == 1


async def test_one_that_has_no_like_ends_all(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="^worker-1 cannot start: danlu-worker-1: there is no su"):
        await broken_of_two(tmp_path, "controller", Shown())


async def test_a_second_stop_ends_those_that_take_their_time(tmp_path: Path) -> None:
    shown = Shown()
    async with supervised(*three(tmp_path, ["deaf"] * 3), shown=shown) as (supervisor, task):
        await supervisor.ready()
        supervisor.stop()
        done, _ = await asyncio.wait([task], timeout=0.3)
        assert not done
        supervisor.stop()
        await asyncio.wait_for(task, SOON)
    assert not any(deed.endswith("ends") for deed in deeds(tmp_path))
    assert not any("started again" in line for line in shown.lines)


async def test_one_that_does_not_end_in_time_is_killed_and_the_rest_still_stops(
    tmp_path: Path,
) -> None:
    async with supervised(*three(tmp_path, ["serves", "deaf", "serves"]), grace=0.3) as (s, task):
        await s.ready()
        s.stop()
        await asyncio.wait_for(task, SOON)
    assert deeds(tmp_path)[3:] == ["webui ends", "controller ends"]


async def test_a_stop_while_one_waits_to_be_started_starts_nothing_more(tmp_path: Path) -> None:
    async with supervised(*three(tmp_path, ["loads", "serves", "serves"])) as (supervisor, task):
        await until(lambda: bool(deeds(tmp_path)))
        supervisor.stop()
        await task
    assert deeds(tmp_path) == ["controller starts", "controller ends"]


async def test_lines_of_all_are_shown_with_their_names(tmp_path: Path) -> None:
    shown = Shown()
    async with supervised(*three(tmp_path), shown=shown) as (supervisor, _):
        await supervisor.ready()
    for name in ("controller", "worker", "webui"):
        assert f"{name}: {name} says hello" in shown.lines
        assert f"danlu: {name} is ready" in shown.lines
