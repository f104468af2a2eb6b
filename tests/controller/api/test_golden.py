"""What FastChat's own API server answered, asked of ours; where it was wrong, the test says so.

The traces were taken with a worker that speaks the golden frames. Ids and times are not compared.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.api import api_of
from support.generators import StockWorker
from support.stack import events_of

TRACES = Path(__file__).parents[2] / "golden" / "fastchat_traces.jsonl"
NAMES_OF_TIMES = {"id", "created"}


def trace(case: str) -> dict[str, Any]:
    lines = TRACES.read_text(encoding="utf-8").splitlines()
    (found,) = [one for one in map(json.loads, lines) if one["case"] == case]
    return dict(found)


def timeless(data: Any) -> Any:
    """`data` without what differs from one answer to the next."""
    if isinstance(data, list):
        return [timeless(one) for one in data]
    if not isinstance(data, dict):
        return data
    ours = {k: timeless(v) for k, v in data.items() if k not in NAMES_OF_TIMES}
    return {**ours, "id": data["id"]} if data.get("object") == "model" else ours


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with api_of(StockWorker()) as (url, _), httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def replay(client: httpx.Client, case: str) -> tuple[httpx.Response, dict[str, Any]]:
    told = trace(case)
    return client.request(told["method"], f"/{told['path']}", json=told["request"]), told


@pytest.mark.parametrize(
    "case",
    [
        "openai_models",
        "openai_chat",
        "openai_completions",
        "openai_embeddings",
        "openai_engine_embeddings",
        "api_token_check",
        "api_chat",
    ],
)
def test_a_whole_answer_is_fastchats(client: httpx.Client, case: str) -> None:
    answer, told = replay(client, case)
    assert answer.status_code == told["status"] == 200
    assert answer.headers["content-type"] == told["content_type"]
    assert timeless(answer.json()) == timeless(json.loads(told["body"]))
    assert list(answer.json()) == list(json.loads(told["body"])), "the order of the fields"


@pytest.mark.parametrize("case", ["openai_chat_stream", "openai_chat_stream_n2"])
def test_a_chat_stream_is_fastchats_with_its_faults_mended(client: httpx.Client, case: str) -> None:
    """Mended (§3.3): chunks without object and created; characters lost or garbled where the
    worker's text is not append-only; finish chunks of all choices at the very end; choices one
    after the other."""
    answer, told = replay(client, case)
    assert answer.status_code == told["status"]
    assert answer.headers["content-type"] == told["content_type"]
    ours, theirs = events_of(answer.text), events_of(told["body"])
    for event in ours:
        assert list(event) == ["id", "object", "created", "model", "choices"]
        assert event["object"] == "chat.completion.chunk"
        assert event["id"].startswith("chatcmpl-") and event["id"] == ours[0]["id"]
    for index in range(told["request"].get("n", 1)):
        mine, other = chunks(ours, index), chunks(theirs, index)
        assert mine[0] == other[0], "the role first"
        assert mine[-1] == other[-1], "the reason last"
        assert [list(chunk) for chunk in mine] == [list(mine[0])] * len(mine)
        assert "".join(c["delta"].get("content", "") for c in mine) == "你好，我😊2023年。"


def chunks(events: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    choices = [choice for event in events for choice in event["choices"]]
    return [choice for choice in choices if choice["index"] == index]


def test_a_completion_stream_is_fastchats_with_its_faults_mended(client: httpx.Client) -> None:
    """Mended (§3.3): chunks without created; characters lost or garbled."""
    answer, told = replay(client, "openai_completions_stream")
    ours, theirs = events_of(answer.text), events_of(told["body"])
    assert all(list(e) == ["id", "object", "created", "model", "choices"] for e in ours)
    assert all(event["object"] == "text_completion" for event in ours)
    assert chunks(ours, 0)[-1] == chunks(theirs, 0)[-1]
    assert chunks(ours, 0)[0] == chunks(theirs, 0)[0]
    assert "".join(c["text"] for c in chunks(ours, 0)) == "你好，我😊2023年。"


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("openai_chat_unknown_model", 404),  # FastChat: 400 for everything
        ("openai_chat_bad_temperature", 400),
        ("openai_chat_bad_top_k", 400),
        ("openai_chat_overflow", 400),
        ("openai_chat_error", 500),  # FastChat: 400, and its banner in front of the cause
    ],
)
def test_an_error_says_fastchats_sentence_with_a_real_status(
    client: httpx.Client, case: str, status: int
) -> None:
    """Mended (§3.3): 400 for everything; no `error` object, which old openai clients crash on."""
    answer, told = replay(client, case)
    theirs = json.loads(told["body"])
    cause = theirs["message"].rpartition("\n\n(")[2].removesuffix(")")
    assert answer.status_code == status
    assert answer.json()["message"] == answer.json()["error"]["message"] == cause
    assert (answer.json()["object"], answer.json()["code"]) == ("error", theirs["code"])


def test_a_stream_that_fails_at_once_has_the_status_of_its_error(client: httpx.Client) -> None:
    """Mended (§3.3): a stream's error was a 200 and not OpenAI's shape."""
    answer, told = replay(client, "openai_chat_stream_error")
    assert told["status"] == 200
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "kaboom"


def test_a_tools_message_is_refused_by_its_role(client: httpx.Client) -> None:
    """Mended (§3.2): an unknown role was a plain 500."""
    answer, told = replay(client, "openai_chat_tool_role")
    assert told["status"] == 500
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].role"
    assert "'tool'" in answer.json()["message"]


def test_every_trace_of_the_api_is_replayed() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    lines = TRACES.read_text(encoding="utf-8").splitlines()
    cases = [one["case"] for one in map(json.loads, lines) if one["server"] == "openai"]
    assert [case for case in cases if f'"{case}"' not in text] == []
