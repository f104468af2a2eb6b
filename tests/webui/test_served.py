"""The list of models, asked for once for all tabs."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from danlu.adapters.errors import WorkerUnreachable
from danlu.webui.backend import Answer, Question
from danlu.webui.served import Served, View


class Models:
    """A backend that only knows names; an error instead of a list is raised."""

    def __init__(self) -> None:
        self.names: list[str] | Exception = []
        self.calls = 0

    async def models(self) -> list[str]:
        self.calls += 1
        await asyncio.sleep(0)
        if isinstance(self.names, Exception):
            raise self.names
        return self.names

    async def stream(self, question: Question) -> AsyncGenerator[Answer]:
        raise AssertionError("not here")
        yield Answer()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
async def test_many_tabs_are_one_question() -> None:
    models = Models()
    models.names = ["m"]
    served = Served(models, 2.0, clock=Clock())
    views = await asyncio.gather(*[served.look() for _ in range(50)])
    assert models.calls == 1
    assert set(views) == {View(("m",))}


@pytest.mark.anyio
async def test_the_list_is_asked_for_again_when_it_is_old_or_wanted_anew() -> None:
    models, clock = Models(), Clock()
    served = Served(models, 2.0, clock=clock)
    await served.look()
    clock.now = 1.9
    await served.look()
    assert models.calls == 1
    await served.look(anew=True)
    assert models.calls == 2
    clock.now = 4.0
    await served.look()
    assert models.calls == 3


@pytest.mark.anyio
async def test_the_version_changes_with_the_list_and_only_with_it() -> None:
    models, clock = Models(), Clock()
    served = Served(models, 0.0, clock=clock)
    versions = []
    answers: list[list[str] | Exception] = [
        [],
        ["m"],
        ["m"],
        WorkerUnreachable("http://c cannot be reached"),
        ["m"],
    ]
    for models.names in answers:
        clock.now += 1
        await served.look()
        versions.append(served.version)
    assert len(set(versions)) == 4
    assert versions[1] == versions[2]


@pytest.mark.anyio
async def test_a_controller_that_cannot_be_reached_is_a_problem_and_not_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = Models()
    models.names = WorkerUnreachable("cannot be reached", peer="http://c:1", why="refused")
    served = Served(models, 0.0)
    for _ in range(3):
        assert await served.look(anew=True) == View((), "the model server cannot be reached")
    assert caplog.messages == ["models not listed: http://c:1 cannot be reached: refused"]


def test_a_restarted_page_repeats_no_version() -> None:
    assert Served(Models(), 2.0).version != Served(Models(), 2.0).version
