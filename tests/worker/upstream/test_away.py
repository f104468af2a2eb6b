"""An upstream on a real socket that goes and comes back on the same port, as its engine sees it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest
from starlette.responses import JSONResponse
from support.processes import SOON, free_port, wait_for
from support.served import served
from support.upstreams import MODEL, FakeUpstream, an_error

from danlu.adapters.errors import ServeError, UnknownModel, WorkerLost, WorkerUnreachable
from danlu.adapters.host.http import Http
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.loading import Progress
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.settings import WorkerSettings
from danlu.worker.upstream.client import Upstream
from danlu.worker.upstream.engine import UpstreamEngine
from danlu.worker.upstream.loading import load_engine

pytestmark = pytest.mark.slow

HOUR = 3600.0
HASTE = 0.05


class Server:
    """Comes and goes at one port."""

    def __init__(self, stack: ExitStack) -> None:
        self._port, self._stack = free_port(), stack
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def come(self, **facts: Any) -> FakeUpstream:
        fake = FakeUpstream(**facts)
        self._stack.enter_context(served(fake.app(), self._port))
        return fake

    def go(self) -> None:
        self._stack.close()


@contextmanager
def before(beat: float) -> Iterator[tuple[UpstreamEngine, Server, FakeUpstream]]:
    """An engine that looks every `beat` seconds, and the server that it was loaded before."""
    with ExitStack() as stack:
        server = Server(stack)
        fake = server.come()
        settings = WorkerSettings(
            engine="upstream", upstream_url=server.url, heart_beat_interval=beat
        )
        engine = load_engine(settings, Progress())
        try:
            yield engine, server, fake
        finally:
            engine.close()


def ask(engine: UpstreamEngine) -> None:
    box = ThreadOutbox()
    engine.submit(engine.admit(GenerateBody(prompt="Hi", max_new_tokens=9, echo=False)), box)
    list(box)


def test_it_is_away_while_nothing_listens_and_there_when_it_serves_again() -> None:
    with before(HASTE) as (engine, server, _):
        assert not engine.presence.away
        server.go()
        wait_for(lambda: engine.presence.away, "nobody asks, and yet it is found to be away", SOON)
        server.come()
        wait_for(lambda: not engine.presence.away, "it is back", SOON)
        ask(engine)


def test_a_request_that_is_refused_makes_it_look_at_once() -> None:
    with before(HOUR) as (engine, server, _):
        server.go()
        with pytest.raises(WorkerUnreachable, match=f"the upstream of {MODEL} cannot be reached"):
            ask(engine)
        wait_for(lambda: engine.presence.away, "the failure is followed up", SOON)


def test_one_that_serves_another_model_or_none_is_not_back() -> None:
    with before(HASTE) as (engine, server, _):
        server.go()
        wait_for(lambda: engine.presence.away, "it is away", SOON)
        other = server.come(models=("dog-7b",))
        wait_for(lambda: len(other.asked) > 2, "it is asked for its models", SOON)
        assert engine.presence.away
        assert {path for path, _ in other.asked} == {"/v1/models"}


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503])
def test_a_refusal_is_no_absence(status: int) -> None:
    with before(HASTE) as (engine, _, fake):
        fake.refuse = an_error(status, "no")
        for _ in range(3):
            with pytest.raises(ServeError):
                ask(engine)
        fake.refuse = None
        ask(engine)
        assert not engine.presence.away


@contextmanager
def answering(status: int, content: Any, **facts: Any) -> Iterator[str]:
    """A server with this answer where its models are listed."""
    fake = FakeUpstream(listing=JSONResponse(content, status_code=status), **facts)
    with served(fake.app()) as url:
        yield f"{url}/v1"


async def check(url: str, dialect: str) -> None:
    async with Http() as http:
        await Upstream(http, url, 10).check(MODEL, dialect)


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (200, {"data": [{"id": MODEL}, {"id": "dog"}]}, None),
        (200, {"data": [{"id": "dog"}]}, UnknownModel),
        (200, {"data": []}, UnknownModel),
        (200, {"data": None}, ServeError),
        (200, ["x"], ServeError),
        (401, {}, ServeError),
        (502, {}, WorkerLost),
    ],
)
def test_it_serves_what_it_lists(status: int, content: Any, error: type[ServeError] | None) -> None:
    with answering(status, content) as url:
        if error is None:
            anyio.run(check, url, "vllm")
            return
        with pytest.raises(error):
            anyio.run(check, url, "vllm")


def test_transformers_need_not_list_what_it_serves() -> None:
    with answering(500, {}, kind="transformers") as url:
        anyio.run(check, url, "transformers")
