"""Talking to an OpenAI-style API that really listens."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest
from support.chatservers import FakeDanlu, Script
from support.processes import SOON, wait_for

from danlu.adapters.errors import (
    NoWorker,
    ServeError,
    Unauthorized,
    UnknownModel,
    WorkerLost,
    WorkerSilent,
    WorkerUnreachable,
)
from danlu.adapters.wire.generation import Message
from danlu.webui.api import ApiBackend
from danlu.webui.backend import Answer, Question, Sampling
from danlu.webui.calls import open_client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as client:
        yield client


def a_question(sampling: Sampling | None = None) -> Question:
    hello = Message(role="user", content="hello")
    return Question("fake-model", (hello,), sampling or Sampling())


async def answers(backend: ApiBackend, question: Question | None = None) -> list[Answer]:
    async with aclosing(backend.stream(question or a_question())) as stream:
        return [answer async for answer in stream]


async def test_the_models_are_listed_with_or_without_v1(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.models = ["b", "a"]
        assert await ApiBackend(http, fake.url).models() == ["a", "b"]
        assert await ApiBackend(http, f"{fake.url}/v1/").models() == ["a", "b"]


async def test_an_answer_grows_and_ends_with_reason_and_usage(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        seen = await answers(ApiBackend(http, fake.url))
    texts = [answer.text for answer in seen]
    assert texts[:5] == ["", "Hello", "Hello, ", "Hello, world", "Hello, world."]
    assert seen[-1].finish_reason == "stop"
    assert seen[-1].usage is not None
    assert seen[-1].usage.completion_tokens == 4


async def test_every_parameter_is_sent(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        await answers(ApiBackend(http, fake.url), a_question(Sampling(0.1, 0.2, 3, 4)))
        await answers(ApiBackend(http, fake.url))
        first, second = fake.bodies("/v1/chat/completions")
    assert first == {
        "model": "fake-model",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.1,
        "top_p": 0.2,
        "top_k": 3,
        "max_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "top_k" not in second


async def test_a_closed_answer_is_a_closed_connection(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.script = Script("more ")
        fake.script.endless = True
        async with aclosing(ApiBackend(http, fake.url).stream(a_question())) as stream:
            async for answer in stream:
                if answer.text:
                    break
        left = fake.script.left
        wait_for(left.is_set, "the server saw its reader leave", SOON)


async def test_a_key_is_sent_and_a_wrong_one_is_named(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.key = "secret"
        assert await ApiBackend(http, fake.url, key="secret").models() == ["fake-model"]
        with pytest.raises(Unauthorized, match="wrong key"):
            await ApiBackend(http, fake.url, key="guess").models()
        with pytest.raises(Unauthorized):
            await answers(ApiBackend(http, fake.url))


async def test_an_error_keeps_its_cause_and_its_number(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.failure = (404, UnknownModel("no 'm' here").envelope())
        with pytest.raises(UnknownModel, match="no 'm' here"):
            await answers(ApiBackend(http, fake.url))
        fake.failure = (503, NoWorker("all gone").envelope())
        with pytest.raises(NoWorker, match="all gone"):
            await answers(ApiBackend(http, fake.url))
        fake.failure = (400, {"object": "error", "message": "too hot", "code": 40302})
        with pytest.raises(ServeError, match="too hot") as error:
            await answers(ApiBackend(http, fake.url))
        assert error.value.code == 40302
        fake.failure = (500, {})
        with pytest.raises(ServeError, match="answered 500"):
            await answers(ApiBackend(http, fake.url))


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "it broke", "code": "worker_lost"}, "code": 50006},
        {"text": "**NETWORK ERROR**\n\n(it broke)", "error_code": 50006},
        {"object": "error", "message": "it broke", "code": 50006},
    ],
)
async def test_an_error_inside_the_stream_is_raised(
    http: httpx.AsyncClient, event: dict[str, object]
) -> None:
    with FakeDanlu() as fake:
        fake.event = event
        with pytest.raises(WorkerLost, match="it broke"):
            await answers(ApiBackend(http, fake.url))


async def test_a_stream_that_ends_early_is_no_answer(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.script.break_after = 2
        with pytest.raises(WorkerLost, match="broke the connection off"):
            await answers(ApiBackend(http, fake.url))
        fake.script = Script()
        fake.script.finish_reason = None
        with pytest.raises(WorkerLost, match="before the answer was complete"):
            await answers(ApiBackend(http, fake.url))


async def test_a_server_that_says_nothing_is_given_up(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake:
        fake.script.pause_after = 1
        with pytest.raises(WorkerSilent, match="silent for too long"):
            await answers(ApiBackend(http, fake.url, silence=0.2))


async def test_nobody_listens(http: httpx.AsyncClient) -> None:
    with pytest.raises(WorkerUnreachable, match="http://127.0.0.1:9/v1/models cannot be reached"):
        await ApiBackend(http, "http://127.0.0.1:9").models()


async def test_a_server_that_is_no_api_is_named(http: httpx.AsyncClient) -> None:
    with FakeDanlu() as fake, pytest.raises(ServeError, match="is it an OpenAI-style API"):
        await ApiBackend(http, f"{fake.url}/elsewhere").models()
