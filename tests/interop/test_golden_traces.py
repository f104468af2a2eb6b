"""Every recorded exchange of FastChat main, replayed against our programs, really started.

The controller, its API and the worker run as processes; only the engine is a script, the one that
the traces were recorded with. What differs is listed, each with the reason and what comes instead.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import script, stack

pytestmark = pytest.mark.slow

TRACES = Path(__file__).parents[1] / "golden" / "fastchat_traces.jsonl"


@dataclass(frozen=True, slots=True)
class Trace:
    """One recorded exchange."""

    case: str
    server: str
    method: str
    path: str
    request: Any
    status: int
    content_type: str | None
    body: str


def traces() -> list[Trace]:
    return [Trace(**json.loads(line)) for line in TRACES.read_text("utf-8").splitlines()]


# Answers that are meant to differ: the status, and words that the body must have instead.
REFUSED = {
    "controller_get_worker_address_missing_model": (400, "'model' is missing"),
    "openai_chat_error": (500, "kaboom"),
    "openai_chat_stream_error": (500, "kaboom"),  # before the first event: a real status
    "openai_chat_tool_role": (400, "role"),
    "openai_chat_unknown_model": (404, "Only chatglm2-6b allowed now, your model nope"),
    "openai_chat_bad_temperature": (400, "3.0 is greater than the maximum of 2 - 'temperature'"),
    "openai_chat_bad_top_k": (400, "0 is out of Range. Either set top_k to -1 or >=1."),
    "openai_chat_overflow": (400, "However, your messages resulted in 319 tokens."),
}
# Frames whose text FastChat takes back, and events that lack what OpenAI's clients want.
STREAMS = {"controller_generate_stream_ok", "worker_generate_stream"}
EVENTS = {"openai_chat_stream", "openai_chat_stream_n2", "openai_completions_stream"}
# One frame instead of two: FastChat goes on to ask a worker without an address.
FIRST_FRAME = {"controller_generate_stream_no_worker"}
# FastChat's engine was asked for log-probabilities here and ignored it.
NO_LOGPROBS = {"openai_completions"}


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, str]]:
    """The base URL of each server that the traces name."""
    with stack.controller() as controller, stack.golden_worker(controller.url) as worker:
        stack.wait_until_served(controller.url, script.NAME, worker.program)
        yield {"controller": controller.url, "openai": controller.api, "worker": worker.url}


def replay(trace: Trace, programs: dict[str, str]) -> httpx.Response:
    url = f"{programs[trace.server]}/{trace.path}"
    content = None if trace.request is None else json.dumps(trace.request)
    if "receive_heart_beat_known" in trace.case:
        content = json.dumps({**trace.request, "worker_name": programs["worker"]})
    return httpx.request(trace.method, url, content=content, timeout=60, trust_env=False)


def plain(body: str) -> str:
    """A body without what is new in every answer: ids, times, addresses."""
    body = re.sub(r"(chatcmpl|cmpl|modelperm)-[0-9A-Za-z]+", r"\1-X", body)
    body = re.sub(r'"created":\s*\d+', '"created":0', body)
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://worker", body)


def named(trace: Trace) -> str:
    return trace.case


@pytest.mark.parametrize("trace", traces(), ids=named)
def test_a_trace(trace: Trace, programs: dict[str, str]) -> None:
    answer = replay(trace, programs)
    if trace.case in REFUSED:
        status, words = REFUSED[trace.case]
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"] == answer.json()["message"]
        return
    assert answer.status_code == trace.status
    assert answer.headers.get("content-type") == trace.content_type
    if trace.case in STREAMS:
        check_stream(stack.frames_of(answer.content), stack.frames_of(trace.body.encode()))
    elif trace.case in EVENTS:
        check_events(stack.events_of(answer.text), stack.events_of(trace.body))
    elif trace.case in FIRST_FRAME:
        assert stack.frames_of(answer.content) == stack.frames_of(trace.body.encode())[:1]
    else:
        ours, theirs = json.loads(plain(answer.text)), json.loads(plain(trace.body))
        assert ours == theirs or trace.case in NO_LOGPROBS
        assert without_logprobs(ours) == without_logprobs(theirs)


def without_logprobs(body: Any) -> Any:
    """The body, with nothing said of log-probabilities in its choices."""
    if not isinstance(body, dict) or "choices" not in body:
        return body
    return {**body, "choices": [{**choice, "logprobs": None} for choice in body["choices"]]}


def check_stream(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """The same keys, counts and end; text that is never taken back."""
    assert ours[-1] == theirs[-1]
    assert {tuple(frame) for frame in ours} == {tuple(frame) for frame in theirs}
    counted = {frame["usage"]["completion_tokens"]: frame for frame in theirs}
    for frame in ours:
        assert frame["usage"] == counted[frame["usage"]["completion_tokens"]]["usage"]
    for before, after in zip(ours, ours[1:], strict=False):
        assert after["text"].startswith(before["text"])


def check_events(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """The same choices with the same ends, the whole text, and a complete schema."""
    assert {choice_ends(event) for event in ours} == {choice_ends(event) for event in theirs}
    for event in ours:
        assert {"id", "object", "created", "model", "choices"} <= set(event)
    for index in {index for index, _ in map(choice_ends, ours)}:
        said = "".join(said_in(event) for event in ours if choice_ends(event)[0] == index)
        assert said == script.ANSWER


def choice_ends(event: dict[str, Any]) -> tuple[int, str | None]:
    (choice,) = event["choices"]
    return choice["index"], choice["finish_reason"]


def said_in(event: dict[str, Any]) -> str:
    (choice,) = event["choices"]
    said: str = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
    return said
