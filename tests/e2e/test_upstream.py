"""A worker whose engine is another danlu: it answers as that one does, and ends there what is ended
here."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from support import stack
from support.processes import Program, free_port, wait_for
from support.stack import FRANCE, SMOL, Server, Stack, chat_body, post, queue_length, stream

pytestmark = pytest.mark.slow

LONG = "Tell me a story with more than a thousand words."
NAME = "smollm2-upstream"


@pytest.fixture(scope="module")
def front() -> Iterator[Server]:
    with stack.controller() as server:
        yield server


@pytest.fixture(scope="module")
def asking(whole: Stack, front: Server) -> Iterator[Server]:
    """A worker that asks the API of the whole stack, at a controller of its own."""
    port = free_port()
    program = Program.ours(
        "danlu.worker",
        *("--engine", "upstream", "--upstream-url", f"{whole.api}/v1", "--model-names", NAME),
        *("--host", "127.0.0.1", "--port", str(port), "--controller-address", front.url),
        env=stack.ENV,
    )
    with stack.clean(program):
        stack.wait_until_served(front.url, NAME, program)
        yield Server(f"http://127.0.0.1:{port}", program)


def both(whole: Stack, front: Server, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the model answers directly, and by way of the worker that asks it."""
    direct = post(f"{whole.api}{path}", {**body, "model": SMOL}).json()
    asked = post(f"{front.api}{path}", {**body, "model": NAME}).json()
    return [direct, asked]


CHATS: list[dict[str, Any]] = [
    {},
    {"temperature": 1, "seed": 7, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1},
    {"logprobs": True, "top_logprobs": 3, "max_tokens": 6},
    {"stop": [" of"], "min_tokens": 2, "presence_penalty": 0.5, "frequency_penalty": 0.5},
    {"ignore_eos": True, "max_tokens": 12},
    {"prompt_logprobs": 2, "priority": -1, "max_tokens": 2},
]


@pytest.mark.parametrize("more", CHATS)
def test_a_chat_is_the_same_with_the_worker_in_between(
    whole: Stack, front: Server, asking: Server, more: dict[str, Any]
) -> None:
    body = {**chat_body(SMOL, FRANCE), "max_tokens": 16, **more}
    direct, asked = both(whole, front, "/v1/chat/completions", body)
    assert asked["choices"] == direct["choices"]
    assert asked["usage"] == direct["usage"]
    assert asked.get("prompt_logprobs") == direct.get("prompt_logprobs")
    assert ("prompt_logprobs" in asked) == ("prompt_logprobs" in more)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "1 2 3", "echo": True},
        {"prompt": "1 2 3", "echo": True, "logprobs": 2},
        {"prompt": [33, 216, 34]},
        {"prompt": ["1 2 3", "a b c"], "n": 2, "temperature": 1, "seed": 3},
        {"prompt": "1 2 3", "best_of": 3, "n": 2, "temperature": 1, "seed": 3, "echo": True},
        {"prompt": ["1 2 3", "a b c"], "n": 2, "prompt_logprobs": 1, "logprobs": 1},
    ],
)
def test_a_completion_is_the_same_with_the_worker_in_between(
    whole: Stack, front: Server, asking: Server, body: dict[str, Any]
) -> None:
    body = {"temperature": 0, "max_tokens": 6, **body}
    direct, asked = both(whole, front, "/v1/completions", body)
    assert asked["choices"] == direct["choices"]
    assert asked["usage"] == direct["usage"]


def test_embeddings_are_the_same(whole: Stack, front: Server, asking: Server) -> None:
    direct, asked = both(whole, front, "/v1/embeddings", {"input": ["a cat", "two dogs"]})
    for one, other in zip(direct["data"], asked["data"], strict=True):
        assert other["embedding"] == pytest.approx(one["embedding"], abs=1e-6)
    assert asked["usage"] == direct["usage"]


def test_counts_and_context_are_the_models(whole: Stack, asking: Server) -> None:
    for path, body in (("count_token", {"prompt": "1 2 3"}), ("model_details", {})):
        assert (
            post(f"{asking.url}/{path}", body).json()
            == post(f"{whole.worker.url}/{path}", body).json()
        )


def test_a_client_of_openais_streams_through_it(front: Server, asking: Server) -> None:
    with openai.OpenAI(base_url=f"{front.api}/v1", api_key="none", max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model=NAME,
                messages=[{"role": "user", "content": FRANCE}],
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "Paris" in text and len(chunks) > 5
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 3


def test_frames_of_fastchat_are_the_same(whole: Stack, asking: Server) -> None:
    body = {"prompt": "1 2 3", "temperature": 0, "max_new_tokens": 8, "echo": False}
    direct = stream(f"{whole.worker.url}/worker_generate_stream", {**body, "model": SMOL})
    asked = stream(f"{asking.url}/worker_generate_stream", {**body, "model": NAME})
    assert asked[-1]["text"] == direct[-1]["text"]
    assert asked[-1]["usage"] == direct[-1]["usage"]
    assert len(asked) > 5, "it streams"


def test_what_the_upstream_refuses_is_refused(front: Server, asking: Server) -> None:
    body = {**chat_body(NAME, "x " * 9000)}
    answer = post(f"{front.api}/v1/chat/completions", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_readers_who_leave_end_the_work_at_the_upstream(
    whole: Stack, front: Server, asking: Server
) -> None:
    body = chat_body(NAME, LONG, stream=True, max_tokens=1500)
    with httpx.Client(trust_env=False, timeout=60) as client:
        for _ in range(4):
            with client.stream("POST", f"{front.api}/v1/chat/completions", json=body) as answer:
                next(answer.iter_raw())
    wait_for(lambda: queue_length(asking.url) == 0, "the worker's queue is empty", 20)
    wait_for(lambda: queue_length(whole.worker.url) == 0, "the upstream's queue is empty", 20)
    answer = post(f"{front.api}/v1/chat/completions", chat_body(NAME, FRANCE)).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
