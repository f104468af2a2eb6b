"""Everything that can be wrong with a request to the controller's or the worker's own port."""

from typing import Any

import httpx
import pytest
from support.refusals import (
    HALF,
    HUGE,
    LONG,
    NOT_AN_OBJECT,
    NOT_JSON,
    TO_REFUSE,
    Bad,
    check_refusal,
    sentence_in,
    without_none,
)
from support.stack import SMOL, Stack, frames_of, post

from danlu.adapters.wire.fastchat import SERVER_ERROR_MSG

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("still_answers")]

STREAM, WHOLE = "/worker_generate_stream", "/worker_generate"
WIZARD = [{"role": "wizard", "content": "Hi"}]
USER = [{"role": "user", "content": "Hi"}]


def job(**more: Any) -> dict[str, Any]:
    return without_none({"model": SMOL, "prompt": "Hi", "max_new_tokens": 2} | more)


AT_THE_CONTROLLER = [
    *(
        Bad(path, raw, "JSON")
        for path in ("/register_worker", "/receive_heart_beat", "/get_worker_address", STREAM)
        for raw in NOT_JSON
    ),
    *(
        Bad(path, raw, "object")
        for path in ("/register_worker", "/receive_heart_beat", "/get_worker_address", STREAM)
        for raw in NOT_AN_OBJECT
    ),
    *(Bad(path, HUGE, "larger than", 413) for path in ("/register_worker", STREAM)),
    Bad("/register_worker", {}, "worker_name"),
    Bad("/register_worker", {"worker_name": "http://127.0.0.1:1"}, "check_heart_beat"),
    Bad("/register_worker", {"worker_name": 5, "check_heart_beat": True}, "worker_name"),
    Bad("/register_worker", {"worker_name": "", "check_heart_beat": True}, "worker_name"),
    Bad("/register_worker", {"worker_name": "no url", "check_heart_beat": True}, "worker_name"),
    Bad("/register_worker", {"worker_name": "file:///x", "check_heart_beat": True}, "worker_name"),
    Bad("/register_worker", {"worker_name": "http://w", "check_heart_beat": "maybe"}, "check"),
    Bad(
        "/register_worker",
        {"worker_name": "http://w", "check_heart_beat": True, "worker_status": {"speed": "x"}},
        "worker_status",
    ),
    Bad("/receive_heart_beat", {}, "worker_name"),
    Bad("/receive_heart_beat", {"worker_name": "http://w"}, "queue_length"),
    Bad("/receive_heart_beat", {"worker_name": "http://w", "queue_length": "x"}, "queue_length"),
    Bad("/receive_heart_beat", {"worker_name": "http://w", "queue_length": -1}, "queue_length"),
    Bad("/get_worker_address", {}, "model"),
    Bad("/get_worker_address", {"model": 5}, "model"),
    Bad(STREAM, {}, "model"),
    Bad(STREAM, {"model": 5}, "model"),
    Bad("/register_worker", None, "GET", 405, "GET"),
    Bad("/test_connection", b"{}", "POST", 405),
    Bad("/nowhere", b"{}", "/nowhere", 404),
]

AT_THE_WORKER = [
    *(
        Bad(path, raw, "JSON")
        for path in (STREAM, WHOLE, "/worker_get_embeddings", "/count_token")
        for raw in NOT_JSON
    ),
    *(
        Bad(path, raw, "object")
        for path in (STREAM, WHOLE, "/worker_get_embeddings", "/count_token")
        for raw in NOT_AN_OBJECT
    ),
    *(Bad(path, HUGE, "larger than", 413) for path in (STREAM, WHOLE, "/count_token")),
    *(
        Bad(path, body, word)
        for path in (STREAM, WHOLE)
        for body, word in [
            (job(prompt=None), "prompt"),
            (job(prompt=5), "prompt"),
            (job(promt="x"), "promt"),
            (job(temperature=-1), "temperature"),
            (job(temperature="hot"), "temperature"),
            (job(temperature=float("nan")), "temperature"),
            (job(top_p=1.5), "top_p"),
            (job(top_k=0), "top_k"),
            (job(max_new_tokens=0), "max_new_tokens"),
            (job(max_new_tokens="x"), "max_new_tokens"),
            (job(repetition_penalty=0), "repetition_penalty"),
            (job(presence_penalty=5), "presence_penalty"),
            (job(stop=5), "stop"),
            (job(stop=[""]), "stop"),
            (job(stop_token_ids=["x"]), "stop_token_ids"),
            (job(seed=2**80), "seed"),
            (job(prompt_logprobs=21), "prompt_logprobs"),
            (job(priority=2**31), "priority"),
            (job(logit_bias={str(10**9): 1}), "logit_bias"),
            (job(best_of=3), "best_of"),
            (job(use_beam_search=True), "use_beam_search"),
            (job(images=["x"]), "images"),
            (job(prompt=None, prompt_token_ids=[10**9]), "prompt_token_ids"),
            (job(prompt=None, prompt_token_ids=[-1]), "prompt_token_ids"),
            (job(prompt=None, prompt_token_ids=[]), "prompt_token_ids"),
            (job(prompt=None, messages=WIZARD), "role"),
            (job(messages=USER), "one of"),
            (job(prompt=LONG), "maximum context length"),
            (job(prompt=HALF), ""),
        ]
    ),
    Bad(WHOLE, job(model="gpt-9"), "gpt-9", 404),
    Bad(STREAM, job(model="gpt-9"), "gpt-9", 404),
    Bad("/worker_get_embeddings", {"model": SMOL}, "input"),
    Bad("/worker_get_embeddings", {"model": SMOL, "input": "text"}, "input"),
    Bad("/worker_get_embeddings", {"model": SMOL, "input": [5]}, "input"),
    Bad("/worker_get_embeddings", {"model": SMOL, "input": [HALF]}, ""),
    Bad("/count_token", {}, "prompt"),
    Bad("/count_token", {"prompt": 5}, "prompt"),
    Bad("/count_token", {"prompt": HALF}, ""),
    Bad("/model_details", {"model": "gpt-9"}, "gpt-9", 404),
    Bad(STREAM, None, "GET", 405, "GET"),
    Bad("/nowhere", b"{}", "/nowhere", 404),
]


@pytest.mark.parametrize("bad", AT_THE_CONTROLLER, ids=str)
def test_the_controller_refuses(whole: Stack, bad: Bad) -> None:
    check_refusal(bad, bad.send(whole.controller.url))


@pytest.mark.parametrize("bad", AT_THE_WORKER, ids=str)
def test_the_worker_refuses(whole: Stack, bad: Bad) -> None:
    check_refusal(bad, bad.send(whole.worker.url))


@pytest.mark.parametrize("port", ["api", "controller", "worker"])
def test_a_large_body_without_a_length_is_refused(whole: Stack, port: str) -> None:
    base, path = {
        "api": (whole.api, "/v1/chat/completions"),
        "controller": (whole.controller.url, "/register_worker"),
        "worker": (whole.worker.url, STREAM),
    }[port]
    parts = (b"x" * 1_000_000 for _ in range(10))
    answer = httpx.post(base + path, content=parts, timeout=TO_REFUSE, trust_env=False)
    assert answer.status_code == 413
    assert "larger than" in sentence_in(answer)


def test_a_model_nobody_serves_ends_the_relay_with_one_frame(whole: Stack) -> None:
    """FastChat's way and words: status 200 and a frame with 50005, which stock clients show."""
    answer = post(f"{whole.controller.url}{STREAM}", {"model": "gpt-9", "prompt": "Hi"})
    assert answer.status_code == 200
    (frame,) = frames_of(answer.content)
    assert frame == {"text": SERVER_ERROR_MSG, "error_code": 50005}
