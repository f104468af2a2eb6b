"""Bad input is a 4xx that names what is wrong; after all of it the worker still answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from support.engines import FakeEngine, says
from support.workers import MODEL, an_app, an_engine, ask, client_of, frames_in

pytestmark = pytest.mark.anyio

STREAM, WHOLE, VECTORS = "/worker_generate_stream", "/worker_generate", "/worker_get_embeddings"
COUNT, CONV = "/count_token", "/worker_get_conv_template"


def body(**fields: Any) -> bytes:
    return json.dumps({"model": MODEL, **fields}).encode()


BAD_GENERATIONS = {  # what is wrong: (body, status, number, words of the sentence)
    "no JSON": (b"{", 400, 40001, "not valid JSON"),
    "no UTF-8": (b'{"prompt": "\xff"}', 400, 40001, "not valid JSON"),
    "nothing": (b"", 400, 40001, "not valid JSON"),
    "an array": (b"[]", 400, 40001, "must be a JSON object, not an array"),
    "nested too deeply": (b"[" * 100_000, 400, 40001, "nested too deeply"),
    "no prompt": (body(), 400, 40001, "'prompt' is missing"),
    "an unknown field": (body(prompt="Q", best=1), 400, 40001, "'best' is not a parameter"),
    "a wrong type": (body(prompt=7), 400, 40001, "'prompt' is 7"),
    "a number as text": (body(prompt="Q", temperature="hot"), 400, 40001, "'temperature' is 'hot'"),
    "out of range": (body(prompt="Q", top_p=2), 400, 40302, "2.0 is greater than the maximum of 1"),
    "NaN": (b'{"prompt": "Q", "temperature": NaN}', 400, 40001, "a finite number"),
    "no room": (body(prompt="Q", max_new_tokens=0), 400, 40302, "less than the minimum of 1"),
    "another model": (b'{"model": "gpt-4", "prompt": "Q"}', 404, 40301, "serves chatglm2-6b, not"),
    "too long": (body(prompt="Q" * 300), 400, 40303, "maximum context length is 200"),
    "too large": (body(prompt="Q" * 10_000_000), 413, 40001, "larger than 8388608 bytes"),
    "two prompts": (body(prompt="Q", prompt_token_ids=[1]), 400, 40001, "give one of"),
    "a strange role": (body(messages=[{"role": "tool", "content": ""}]), 400, 40001, "messages[0]"),
    "an empty stop": (body(prompt="Q", stop=""), 400, 40001, "'stop'"),
}
BAD_QUESTIONS = {  # what is wrong: (path, body, status, words of the sentence)
    "no texts": (VECTORS, body(), 400, "'input' is missing"),
    "empty texts": (VECTORS, body(input=[]), 400, "input"),
    "a text that is none": (VECTORS, body(input=[1]), 400, "input[0]"),
    "a strange format": (VECTORS, body(input=["a"], encoding_format="hex"), 400, "encoding_format"),
    "an unknown field": (VECTORS, body(input=["a"], dimensions=3), 400, "dimensions"),
    "another model": (VECTORS, b'{"model": "x", "input": ["a"]}', 404, "not 'x'"),
    "no JSON": (VECTORS, b"{", 400, "not valid JSON"),
    "too large": (VECTORS, body(input=["Q" * 10_000_000]), 413, "larger than"),
    "no prompt to count": (COUNT, body(), 400, "'prompt' is missing"),
    "no JSON to count": (COUNT, b"x", 400, "not valid JSON"),
    "another model to count": (COUNT, b'{"model": "x", "prompt": "Q"}', 404, "not 'x'"),
    "another model's template": (CONV, b'{"model": "x"}', 404, "not 'x'"),
    "a model that is no name": (CONV, b'{"model": 1}', 400, "'model' is 1"),
    "half a character to count": (COUNT, rb'{"prompt": "\ud800"}', 400, "half a surrogate pair"),
    "half a character": (VECTORS, rb'{"input": ["\ud800"]}', 400, "half a surrogate pair"),
    "no JSON for a template": (CONV, b"{", 400, "not valid JSON"),
}


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    with an_engine(says("fine")) as engine:
        yield engine


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(an_app(engine)) as client:
        yield client


async def still_answers(client: httpx.AsyncClient) -> bool:
    frames = frames_in((await client.post(STREAM, content=ask("Q"))).content)
    return [frame["text"] for frame in frames] == ["fine", "fine"]


@pytest.mark.parametrize("case", BAD_GENERATIONS)
async def test_a_bad_generation_is_refused_in_one_frame_and_takes_nothing(
    case: str, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    raw, status, code, words = BAD_GENERATIONS[case]
    stream = await client.post(STREAM, content=raw)
    whole = await client.post(WHOLE, content=raw)
    (frame,) = frames_in(stream.content)
    assert (stream.status_code, stream.headers.get("content-type")) == (status, None)
    assert (whole.status_code, whole.json()) == (status, frame)
    assert list(frame) == ["text", "error_code"]
    assert frame["error_code"] == code
    assert words in frame["text"]
    assert engine.jobs == []
    assert await still_answers(client)


@pytest.mark.parametrize("case", BAD_QUESTIONS)
async def test_a_bad_question_is_refused_by_name(case: str, client: httpx.AsyncClient) -> None:
    path, raw, status, words = BAD_QUESTIONS[case]
    answer = await client.post(path, content=raw)
    told = answer.json()
    assert answer.status_code == status
    assert words in (told["text"] if path == VECTORS else told["error"]["message"])
    assert await still_answers(client)


async def test_a_wrong_method_and_an_unknown_path_are_fastchats(client: httpx.AsyncClient) -> None:
    wrong, unknown = await client.get(STREAM), await client.post("/nowhere")
    assert (wrong.status_code, wrong.json()["detail"]) == (405, "Method Not Allowed")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "Not Found")


async def test_the_content_type_does_not_matter(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "text/plain"}
    answer = await client.post(WHOLE, content=ask("Q"), headers=headers)
    assert answer.json()["text"] == "fine"
