"""What goes wrong has a real status and OpenAI's envelope; after it the plane still answers."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.api import FakeBackend, api_of
from support.generators import OurWorker, StockWorker
from support.script import NAME
from support.stack import events_of

CHAT = "/v1/chat/completions"


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture(scope="module")
def plane() -> Iterator[tuple[httpx.Client, FakeBackend]]:
    with (
        api_of(OurWorker()) as (url, backend),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        yield client, backend


@pytest.fixture
def client(plane: tuple[httpx.Client, FakeBackend]) -> Iterator[httpx.Client]:
    client, backend = plane
    yield client
    assert backend.open_leases == 0, "every lease was given back"
    assert client.post(CHAT, json=chat("Q")).status_code == 200, "and the next one is served"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "slug"),
    [
        (CHAT, chat("boom"), 500, 50001, "internal_error"),
        (CHAT, chat("boom", stream=True), 500, 50001, "internal_error"),
        (CHAT, chat("WRONG"), 400, 40001, "invalid_value"),
        (CHAT, chat("WRONG", stream=True), 400, 40001, "invalid_value"),
        (CHAT, chat("BUSY"), 429, 42903, "overloaded"),
        (CHAT, chat("FULL"), 503, 50002, "out_of_memory"),
        (CHAT, chat("FULL", stream=True), 503, 50002, "out_of_memory"),
        (CHAT, chat("EMPTY"), 502, 50006, "worker_lost"),
        (CHAT, chat("STOP"), 502, 50006, "worker_lost"),
        (CHAT, chat("DIE"), 502, 50006, "worker_lost"),
        (CHAT, {**chat("Q"), "model": "nope"}, 404, 40301, "model_not_found"),
        (CHAT, {**chat("Q"), "model": "nope", "stream": True}, 404, 40301, "model_not_found"),
        (CHAT, {}, 400, 40001, "invalid_value"),
        (CHAT, chat("Q", top_k=0), 400, 40302, "out_of_range"),
        ("/v1/completions", {"model": NAME}, 400, 40001, "invalid_value"),
        ("/v1/embeddings", {"model": "nope", "input": "a"}, 404, 40301, "model_not_found"),
        ("/v1/embeddings", {"input": "a"}, 400, 40001, "invalid_value"),
        ("/api/v1/token_check", {"prompts": 5}, 400, 40001, "invalid_value"),
        ("/v1/edits", {}, 404, 40001, "unknown_url"),
        ("/v1/models", {}, 405, 40001, "method_not_allowed"),
    ],
)
def test_an_error_has_its_status_and_openais_envelope(
    client: httpx.Client, path: str, body: Any, status: int, code: int, slug: str
) -> None:
    answer = client.post(path, json=body)
    told = answer.json()
    assert answer.status_code == status
    assert told["error"]["code"] == slug
    assert (told["object"], told["code"]) == ("error", code)
    assert told["message"] == told["error"]["message"] != ""


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'"a"', b"null"])
def test_what_is_no_json_object_is_a_400(client: httpx.Client, raw: bytes) -> None:
    for path in (CHAT, "/v1/completions", "/v1/embeddings", "/api/v1/token_check"):
        answer = client.post(path, content=raw)
        assert answer.status_code == 400
        assert "JSON" in answer.json()["error"]["message"]


def test_a_body_of_10_mb_is_a_413(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat("x" * 10_000_000))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def test_the_content_type_does_not_matter(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # curl -d
    answer = client.post(CHAT, content=json.dumps(chat("Q")), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(("word", "said"), [("DIE", "All is "), ("STOP", "All is ")])
def test_a_stream_that_breaks_ends_with_an_error_and_is_no_short_success(
    client: httpx.Client, word: str, said: str
) -> None:
    answer = client.post(CHAT, json=chat(word, stream=True))
    assert answer.status_code == 200
    *chunks, last = events_of(answer.text)
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["delta"].get("content", "") for choice in deltas) == said
    assert [choice["finish_reason"] for choice in deltas if choice["finish_reason"]] == []
    assert last["error"]["code"] == "worker_lost"
    assert last["error_code"] == last["code"] == 50006
    assert last["text"].endswith(f"({last['message']})")


def test_one_choice_that_fails_ends_the_others(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/completions", json={"model": NAME, "prompt": ["SLOW", "boom"], "max_tokens": 5}
    )
    assert answer.status_code == 500


def test_without_any_worker_nothing_is_there_yet() -> None:
    with api_of() as (url, _):
        answer = httpx.post(url + CHAT, json=chat("Q"), trust_env=False)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert httpx.get(f"{url}/v1/models", trust_env=False).json()["data"] == []
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
        ready = httpx.get(f"{url}/ready", trust_env=False)
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")


def test_a_prompt_that_is_too_long_for_a_stock_worker_is_told_so() -> None:
    """Its own worker would cut the prompt and say nothing."""
    worker = StockWorker()
    with api_of(worker) as (url, backend):
        answer = httpx.post(url + CHAT, json=chat("x" * 300), trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert answer.json()["message"] == (
        "This model's maximum context length is 200 tokens. However, your messages resulted in "
        "319 tokens. Please reduce the length of the messages."
    )
    assert worker.bodies == [] and backend.open_leases == 0
