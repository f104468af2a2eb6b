"""A worker that is lost before its first word costs nothing but time; leases come back."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.api import FakeBackend
from support.script import NAME

from danlu.adapters.errors import (
    BadRequest,
    NoWorker,
    Overloaded,
    ServeError,
    UnknownModel,
    WorkerLost,
    WorkerSilent,
    WorkerUnreachable,
)
from danlu.adapters.host.http import Http
from danlu.adapters.wire.pieces import Piece
from danlu.controller.api.profiles import Profiles
from danlu.controller.api.relay import Relay
from danlu.controller.api.worker_link import Ask, WorkerLink

HELLO = Piece("hello", finish_reason="stop")
Said = Piece | ServeError


class ScriptedLink(WorkerLink):
    """Says what the script has for an address, one entry a call; keeps to the last one."""

    def __init__(self, **script: list[list[Said]]) -> None:
        self.script = script
        self.called: list[str] = []

    async def generate(self, address: str, ask: Ask) -> AsyncGenerator[Piece]:
        self.called.append(address)
        entries = self.script[address]
        for said in entries.pop(0) if len(entries) > 1 else entries[0]:
            if isinstance(said, ServeError):
                raise said
            yield said

    async def embed(
        self, address: str, model: str, texts: Sequence[str], encoding: str
    ) -> tuple[list[Any], int]:
        said = self.script[address][0][0]
        if isinstance(said, ServeError):
            raise said
        return [[0.5] for _ in texts], 7


class Backend(FakeBackend):
    """Names the workers in their order, not in turns."""

    @asynccontextmanager
    async def lease(self, model: str, avoid: frozenset[str] = frozenset()) -> AsyncIterator[str]:
        self.addresses.sort()
        count, self.leased = len(self.leased), self.leased
        async with super().lease(model, avoid) as _:
            self.leased[count] = min(a for a in self.addresses if a not in avoid)
            yield self.leased[count]


def a_relay(backend: FakeBackend, link: WorkerLink) -> Relay:
    return Relay(backend, link, Profiles(Http(), 1.0), clock=lambda: 0.0)


async def answers(backend: FakeBackend, link: WorkerLink, model: str = NAME) -> list[Piece]:
    try:
        return [piece async for piece in a_relay(backend, link).generate(Ask(model, prompt="p"))]
    finally:
        assert backend.open_leases == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind", [WorkerLost, WorkerUnreachable, Overloaded, NoWorker], ids=lambda kind: kind.__name__
)
async def test_before_the_first_word_another_worker_is_tried(kind: type[ServeError]) -> None:
    backend = Backend("a", "b")
    link = ScriptedLink(a=[[kind("gone")]], b=[[HELLO]])
    assert await answers(backend, link) == [HELLO]
    assert backend.leased == ["a", "b"]
    assert backend.gone == (["a"] if kind is WorkerUnreachable else [])


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [BadRequest, ServeError, WorkerSilent])
async def test_what_another_worker_cannot_do_better_is_told_at_once(
    kind: type[ServeError],
) -> None:
    link = ScriptedLink(a=[[kind("no")]], b=[[HELLO]])
    with pytest.raises(kind):
        await answers(Backend("a", "b"), link)
    assert link.called == ["a"]


@pytest.mark.anyio
async def test_after_the_first_word_nothing_is_said_twice() -> None:
    link = ScriptedLink(a=[[Piece("hel"), WorkerLost("gone")]], b=[[HELLO]])
    heard: list[Piece] = []
    backend = Backend("a", "b")
    with pytest.raises(WorkerLost):
        async for piece in a_relay(backend, link).generate(Ask(NAME, prompt="p")):
            heard.append(piece)
    assert heard == [Piece("hel")]
    assert link.called == ["a"] and backend.open_leases == 0


@pytest.mark.anyio
async def test_three_workers_are_enough_for_one_request() -> None:
    lost = {name: [[WorkerLost(f"{name} is gone")]] for name in "abcd"}
    link = ScriptedLink(**{name: list[list[Said]]([[WorkerLost(name)]]) for name in lost})
    with pytest.raises(WorkerLost, match="c"):
        await answers(Backend(*"abcd"), link)
    assert link.called == ["a", "b", "c"]


@pytest.mark.anyio
async def test_a_lone_worker_that_broke_a_connection_off_is_asked_again() -> None:
    """Its end of a kept connection may have been closed just as we used it."""
    link = ScriptedLink(a=[[WorkerLost("closed")], [HELLO]])
    assert await answers(Backend("a"), link) == [HELLO]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [WorkerUnreachable, Overloaded])
async def test_a_lone_worker_that_is_gone_or_busy_is_not_asked_again(
    kind: type[ServeError],
) -> None:
    link = ScriptedLink(a=[[kind("as it is")], [HELLO]])
    with pytest.raises(kind, match="as it is"):
        await answers(Backend("a"), link)


@pytest.mark.anyio
async def test_a_model_that_nobody_serves_is_told_with_those_that_are() -> None:
    with pytest.raises(UnknownModel) as caught:
        await answers(Backend("a"), ScriptedLink(), model="nope")
    assert str(caught.value) == f"Only {NAME} allowed now, your model nope"


@pytest.mark.anyio
async def test_without_any_model_the_client_is_asked_to_come_back() -> None:
    with pytest.raises(NoWorker) as caught:
        await answers(Backend(), ScriptedLink())
    assert caught.value.retry_after is not None


@pytest.mark.anyio
async def test_a_reader_who_leaves_gives_the_lease_back() -> None:
    backend = Backend("a")
    link = ScriptedLink(a=[[Piece("hel"), HELLO]])
    pieces = a_relay(backend, link).generate(Ask(NAME, prompt="p"))
    assert await anext(pieces) == Piece("hel")
    assert backend.open_leases == 1
    await pieces.aclose()
    assert backend.open_leases == 0


@pytest.mark.anyio
async def test_an_address_with_a_slash_at_its_end_is_the_same() -> None:
    link = ScriptedLink(a=[[HELLO]])
    assert await answers(Backend("a/"), link) == [HELLO]


@pytest.mark.anyio
async def test_vectors_leave_a_line_that_names_every_worker_that_was_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = ScriptedLink(a=[[WorkerLost("gone")]], b=[[HELLO]])
    with caplog.at_level(logging.INFO):
        made = await a_relay(Backend("a", "b"), link).embed(NAME, ["x", "y"], "float")
    assert made == ([[0.5], [0.5]], 7)
    assert caplog.messages[-1] == (
        f"embeddings model={NAME} worker=a,b outcome=done texts=2 prompt_tokens=7 seconds=0.000"
    )


@pytest.mark.anyio
async def test_vectors_that_cannot_be_had_leave_a_line_that_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(BadRequest):
        await a_relay(Backend("a"), ScriptedLink(a=[[BadRequest("no")]])).embed(
            NAME, ["x"], "float"
        )
    assert "worker=a outcome=invalid_value texts=1" in caplog.messages[-1]


@pytest.mark.anyio
async def test_a_strangers_words_stay_on_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        for asking in (
            answers(Backend("a"), ScriptedLink(), "x\nanswer model=y"),
            a_relay(Backend("a"), ScriptedLink()).embed("x\nanswer model=y", ["x"], "float"),
        ):
            with pytest.raises(UnknownModel):
                await asking
    lines = [message for message in caplog.messages if "outcome=" in message]
    assert len(lines) == 2 and not any("\n" in line for line in lines)
