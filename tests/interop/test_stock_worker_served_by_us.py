"""A stock FastChat worker behind our API: in our controller's process, and alone at theirs."""

import base64
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import stack, stock
from support.script import ANSWER, CONTEXT, NAME, PREFIX, VECTOR
from support.stack import Server, chat_body, events_of, get, post, text_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["in our controller", "alone at a stock controller"])
def front(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an API of ours that a scripted stock worker stands behind."""
    if request.param == "in our controller":
        request.getfixturevalue("worker_at_ours")
        yield request.getfixturevalue("our_controller").api
        return
    request.getfixturevalue("worker_at_stock")
    with stack.api(request.getfixturevalue("stock_controller").url) as server:
        yield server.api


def test_its_model_is_listed(front: str) -> None:
    listed = get(f"{front}/v1/models").json()
    assert NAME in [model["id"] for model in listed["data"]]
    assert get(f"{front}/v1/models/{NAME}").json()["id"] == NAME
    assert get(f"{front}/ready").status_code == 200


def test_a_chat_is_answered(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, "Q")).json()
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER}
    assert choice["finish_reason"] == "stop"
    prompt = len("[Round 1]\n\n问：Q\n\n答：") + PREFIX
    assert answer["usage"]["prompt_tokens"] == prompt
    assert answer["usage"]["total_tokens"] == prompt + 8


def test_frames_that_take_text_back_come_out_whole(front: str) -> None:
    """Its frames are not append-only: "你好," becomes "你好，我", and half an emoji an emoji."""
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, "Q", stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert text_of(events) == ANSWER
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    for event in events:
        assert event["object"] == "chat.completion.chunk" and isinstance(event["created"], int)


def test_a_completion_is_answered_for_each_prompt(front: str) -> None:
    body = {"model": NAME, "prompt": ["a", "b"], "max_tokens": 4}
    answer = post(f"{front}/v1/completions", body).json()
    assert [choice["text"] for choice in answer["choices"]] == [ANSWER, ANSWER]
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 16, "total_tokens": 22}


def test_a_completion_is_streamed(front: str) -> None:
    body = {"model": NAME, "prompt": "a", "max_tokens": 4, "stream": True}
    events = events_of(post(f"{front}/v1/completions", body).text)
    assert "".join(e["choices"][0]["text"] for e in events) == ANSWER


def test_the_prompt_follows_the_template_that_the_worker_names(front: str) -> None:
    messages = [
        {"role": "system", "content": "SYS"},
        {"role": "user", "content": "Q1"},
        {"role": "assistant", "content": "A1"},
        {"role": "user", "content": [{"type": "text", "text": "REPEAT"}]},
    ]
    sent = repeated(front, messages=messages, max_tokens=17, temperature=0.5, top_p=0.9, stop="XY")
    rounds = "[Round 1]\n\n问：Q1\n\n答：A1\n\n[Round 2]\n\n问：REPEAT\n\n答："
    assert sent["prompt"] == f"SYS\n\n{rounds}"
    assert sent["max_new_tokens"] == 17
    assert (sent["temperature"], sent["top_p"], sent["echo"]) == (0.5, 0.9, False)
    assert "XY" in sent["stop"]


def test_an_answer_without_a_limit_gets_what_the_context_leaves(front: str) -> None:
    """All but one token: at the limit, stock FastChat cuts off the prompt's first one."""
    sent = repeated(front, messages=[{"role": "user", "content": "REPEAT"}])
    assert sent["max_new_tokens"] == CONTEXT - (len(sent["prompt"]) + PREFIX) - 1


def repeated(front: str, **body: Any) -> dict[str, Any]:
    """The body that reached the worker's engine."""
    answer = post(f"{front}/v1/chat/completions", {"model": NAME, **body}).json()
    sent: dict[str, Any] = json.loads(answer["choices"][0]["message"]["content"])
    return sent


def test_embeddings_come_as_numbers_and_as_base64(front: str) -> None:
    body = {"model": NAME, "input": ["a", "b", "c", "d", "e"]}
    answer = post(f"{front}/v1/embeddings", body).json()
    assert [d["index"] for d in answer["data"]] == [0, 1, 2, 3, 4]
    assert all(d["embedding"] == list(VECTOR) for d in answer["data"])
    assert answer["usage"]["prompt_tokens"] == 15
    packed = post(f"{front}/v1/embeddings", {**body, "encoding_format": "base64"}).json()
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack("<2f", raw) == pytest.approx(VECTOR)


def test_its_error_is_a_real_one(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, "BOOM"))
    assert answer.status_code == 500
    assert "kaboom" in answer.json()["error"]["message"]
    assert answer.json()["code"] == 50001
    assert "HIGH TRAFFIC" not in answer.text


def test_its_error_is_a_real_one_before_a_stream_begins(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, "BOOM", stream=True))
    assert answer.status_code == 500
    assert "kaboom" in answer.json()["error"]["message"]


def test_a_prompt_that_exceeds_its_context_is_refused(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, "x" * 300))
    assert answer.status_code == 400
    error = answer.json()
    assert error["code"] == 40303 and error["error"]["code"] == "context_length_exceeded"
    assert f"maximum context length is {CONTEXT} tokens" in error["message"]


@pytest.mark.parametrize("wish", [{"seed": 1}, {"logit_bias": {"5": 1}}])
def test_what_a_stock_worker_cannot_do_is_refused_by_name(front: str, wish: dict[str, Any]) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, "Q", **wish))
    assert answer.status_code == 400
    assert next(iter(wish)) in answer.json()["error"]["message"]


def test_many_streams_at_once_do_not_mix(front: str) -> None:
    def ask(number: int) -> str:
        body = chat_body(NAME, f"REPEAT {number}", stream=True)
        return text_of(events_of(post(f"{front}/v1/chat/completions", body).text))

    with ThreadPoolExecutor(16) as pool:
        for number, said in enumerate(pool.map(ask, range(32))):
            assert f"REPEAT {number}\\n" in said


def test_a_worker_that_dies_within_an_answer_ends_it_with_an_error(our_controller: Server) -> None:
    """Not a short success: no finish_reason, and the error is said before [DONE]."""
    with stock.scripted_worker(our_controller.url, "mortal") as worker:
        text = post(
            f"{our_controller.api}/v1/chat/completions", chat_body("mortal", "DIE", stream=True)
        ).text
        assert worker.program.wait_to_end() == 1
    assert '"finish_reason":"stop"' not in text.replace(" ", "")
    assert '"error"' in text
    answer = post(f"{our_controller.api}/v1/chat/completions", chat_body("mortal", "Q"))
    assert answer.status_code in (404, 502, 503), answer.text
    assert "mortal" in answer.text or "reach" in answer.text
