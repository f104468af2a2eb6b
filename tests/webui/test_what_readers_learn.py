"""A reader of the page learns what went wrong with the model, the log also where."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import httpx
import pytest
from support.chatservers import Fake, FakeDanlu, FakeStock, Script
from support.processes import free_port

from danlu.adapters.errors import ServeError
from danlu.adapters.wire.generation import Message
from danlu.webui import words
from danlu.webui.api import ApiBackend
from danlu.webui.backend import ChatBackend, Question
from danlu.webui.calls import open_client
from danlu.webui.fastchat import FastChatBackend
from danlu.webui.served import Served

pytestmark = pytest.mark.anyio

ASK = Question("fake-model", (Message(role="user", content="Q"),))
SILENCE = 0.2
INSIDE = ("127.0.0.1", "http://", "Errno", "10.0.0.7", "21002", "/home/me")
ELSEWHERE = "http://10.0.0.7:21002/x in /home/me/glm.bin"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as client:
        yield client


def backend_at(http: httpx.AsyncClient, url: str, kind: type[Fake]) -> ChatBackend:
    if kind is FakeDanlu:
        return ApiBackend(http, url, silence=SILENCE)
    return FastChatBackend(http, url, silence=SILENCE)


async def error_of(backend: ChatBackend) -> ServeError:
    """What ends the answer to ASK."""
    with pytest.raises(ServeError) as caught:
        async with aclosing(backend.stream(ASK)) as answers:
            async for _ in answers:
                pass
    return caught.value.blame(words.server_of(ASK.model))


def assert_discreet(told: str, url: str) -> None:
    assert [word for word in (*INSIDE, url.rpartition(":")[2]) if word in told] == []


def breaking(fake: Fake) -> None:
    fake.script.break_after = 1


def silent(fake: Fake) -> None:
    fake.script.pause_after = 1


def unfinished(fake: Fake) -> None:
    fake.script = Script()
    fake.script.finish_reason = None


FAULTS = [breaking, silent, unfinished]


@pytest.mark.parametrize("kind", [FakeDanlu, FakeStock])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_answer_is_told_of_the_model_and_logged_of_the_address(
    http: httpx.AsyncClient, kind: type[Fake], fault: object
) -> None:
    with kind() as fake:
        assert callable(fault)
        fault(fake)
        error = await error_of(backend_at(http, fake.url, kind))
    assert words.failure(error).startswith("the server of model 'fake-model' ")
    assert_discreet(words.failure(error), fake.url)
    assert fake.url in error.logged


@pytest.mark.parametrize("kind", [FakeDanlu, FakeStock])
async def test_a_server_that_refuses_is_told_of_the_model_and_logged_of_the_address(
    http: httpx.AsyncClient, kind: type[Fake]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    error = await error_of(backend_at(http, url, kind))
    assert words.failure(error) == (
        "the server of model 'fake-model' cannot be reached (error 50006)"
    )
    assert url in error.logged


@pytest.mark.parametrize(
    "body",
    [
        {"unheard of": ELSEWHERE},
        {"message": f"cannot reach {ELSEWHERE}", "code": 50001},
        {"error": {"message": f"cannot reach {ELSEWHERE}", "code": "server_error"}},
        {"text": f"**NETWORK ERROR**\n\n(cannot reach {ELSEWHERE})", "error_code": 50006},
    ],
)
async def test_what_an_api_reports_of_its_own_failure_is_told_without_addresses(
    http: httpx.AsyncClient, body: dict[str, object]
) -> None:
    with FakeDanlu() as fake:
        fake.failure = (500, body)
        error = await error_of(ApiBackend(http, fake.url))
    assert_discreet(words.failure(error), fake.url)
    assert ELSEWHERE in error.logged


async def test_an_event_that_is_nonsense_is_told_without_what_it_says(
    http: httpx.AsyncClient,
) -> None:
    with FakeDanlu() as fake:
        fake.event = [ELSEWHERE]  # type: ignore[assignment] # no event of an API
        error = await error_of(ApiBackend(http, fake.url))
    assert error.told == "the server of model 'fake-model' sent an event that is no object"
    assert ELSEWHERE in error.logged


@pytest.mark.parametrize("kind", [FakeDanlu, FakeStock])
async def test_models_that_cannot_be_listed_are_told_without_an_address(
    http: httpx.AsyncClient, kind: type[Fake], caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        there = stack.enter_context(kind()).url
        for url in (f"http://127.0.0.1:{free_port()}", f"{there}/elsewhere"):
            view = await Served(backend_at(http, url, kind), 0.0).look()
            assert view.problem.startswith("the model server ")
            assert_discreet(words.notice(view.models, view.problem, None), url)
            assert url in caplog.text
