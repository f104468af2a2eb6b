"""Talking FastChat's wire to servers that really listen."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest
from support.chatservers import FakeStock, Script
from support.processes import SOON, wait_for

from danlu.adapters.errors import OutOfMemory, PromptTooLong, ServeError, UnknownModel, WorkerLost
from danlu.adapters.wire.generation import Message
from danlu.webui.backend import Answer, Question, Sampling
from danlu.webui.calls import open_client
from danlu.webui.fastchat import FastChatBackend

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as client:
        yield client


def a_question(sampling: Sampling | None = None) -> Question:
    messages = (
        Message(role="user", content="你好"),
        Message(role="assistant", content="您好"),
        Message(role="user", content="再见"),
    )
    return Question("fake-model", messages, sampling or Sampling())


async def answers(backend: FastChatBackend, question: Question | None = None) -> list[Answer]:
    async with aclosing(backend.stream(question or a_question())) as stream:
        return [answer async for answer in stream]


async def test_the_models_are_listed_without_a_refresh(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.models = ["b", "a"]
        assert await FastChatBackend(http, fake.url).models() == ["a", "b"]
        assert fake.bodies("/refresh_all_workers") == []


async def test_an_answer_comes_as_it_grows(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        seen = await answers(FastChatBackend(http, fake.url))
    assert [answer.text for answer in seen][:2] == ["Hello", "Hello, "]
    assert (seen[-1].text, seen[-1].finish_reason) == ("Hello, world.", "stop")
    assert seen[-1].usage is not None
    assert seen[-1].usage.completion_tokens == 4


async def test_text_that_is_not_append_only_is_shown_as_it_comes(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.rewrites = {"你好,": "你好，"}
        fake.script = Script("你好,", "我", "在")
        seen = await answers(FastChatBackend(http, fake.url))
    assert [answer.text for answer in seen] == ["你好,", "你好，我", "你好，我在", "你好，我在"]


async def test_the_prompt_is_made_by_the_workers_template(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        await answers(FastChatBackend(http, fake.url), a_question(Sampling(0.1, 0.2, 3, 40)))
        [body] = fake.bodies("/worker_generate_stream")
    assert body == {
        "model": "fake-model",
        "prompt": "[Round 1]\n\n问：你好\n\n答：您好\n\n[Round 2]\n\n问：再见\n\n答：",
        "temperature": 0.1,
        "top_p": 0.2,
        "top_k": 3,
        "max_new_tokens": 40,
        "echo": False,
    }


async def test_a_danlu_worker_applies_its_own_template(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.ours = True
        await answers(FastChatBackend(http, fake.url))
        [body] = fake.bodies("/worker_generate_stream")
    assert "prompt" not in body
    assert body["messages"][-1] == {"role": "user", "content": "再见"}


async def test_an_answer_is_given_the_room_that_is_left(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.context_length, fake.prompt_tokens = 100, 40
        await answers(FastChatBackend(http, fake.url))
        [body] = fake.bodies("/worker_generate_stream")
        assert body["max_new_tokens"] == 59
        fake.prompt_tokens = 99
        with pytest.raises(PromptTooLong, match="has 99 tokens and 'fake-model' takes 100"):
            await answers(FastChatBackend(http, fake.url))


async def test_a_closed_answer_is_a_closed_connection(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.script = Script("more ")
        fake.script.endless = True
        async with aclosing(FastChatBackend(http, fake.url).stream(a_question())) as stream:
            await anext(stream)
        wait_for(fake.script.left.is_set, "the worker saw its reader leave", SOON)


async def test_a_workers_error_keeps_its_cause_and_its_number(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.error = (50002, "NPU out of memory")
        with pytest.raises(OutOfMemory, match="^NPU out of memory$"):
            await answers(FastChatBackend(http, fake.url))


async def test_a_model_that_nobody_serves_is_named(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.models = []
        with pytest.raises(UnknownModel, match="no worker serves 'fake-model' now"):
            await answers(FastChatBackend(http, fake.url))


async def test_a_stream_that_ends_early_is_no_answer(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake:
        fake.script.finish_reason = None
        with pytest.raises(WorkerLost, match="before the answer was complete"):
            await answers(FastChatBackend(http, fake.url))


async def test_a_server_that_is_no_controller_is_named(http: httpx.AsyncClient) -> None:
    with FakeStock() as fake, pytest.raises(ServeError, match="has no /list_language_models"):
        await FastChatBackend(http, f"{fake.url}/elsewhere").models()
