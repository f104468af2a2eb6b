"""The worker's routes: what is asked for is what the engine is given, and what comes back."""

import asyncio
import base64
import dataclasses
import json
import logging
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import httpx
import pytest
from support.engines import FakeEngine, Step, a_card, pieces, says
from support.workers import MODEL, an_app, an_engine, ask, client_of, frames_in

from danlu import __version__
from danlu.adapters.errors import OutOfMemory, Overloaded
from danlu.adapters.wire.fastchat import Capabilities, error_in
from danlu.worker.app import build_app
from danlu.worker.engine import Embeddings
from danlu.worker.job import Job, Piece
from danlu.worker.loading import Loading
from danlu.worker.outbox import Box
from danlu.worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio

STREAM, WHOLE = "/worker_generate_stream", "/worker_generate"
HELLO = says("He", "llo", "!")


async def answer_to(engine: FakeEngine, path: str, body: bytes, **settings: Any) -> httpx.Response:
    async with client_of(an_app(engine, **settings)) as client:
        return await client.post(path, content=body)


async def test_a_stream_is_cumulative_and_ends_with_its_reason_and_usage() -> None:
    with an_engine(HELLO) as engine:
        frames = frames_in((await answer_to(engine, STREAM, ask("Q"))).content)
    assert [frame["text"] for frame in frames] == ["He", "Hello", "Hello!", "Hello!"]
    assert frames[-1] == {
        "text": "Hello!",
        "error_code": 0,
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
        "finish_reason": "stop",
    }


async def test_a_stream_of_deltas_says_everything_once() -> None:
    with an_engine(HELLO) as engine:
        frames = frames_in((await answer_to(engine, STREAM, ask("Q", delta=True))).content)
    assert [frame["delta"] for frame in frames] == ["He", "llo", "!", ""]
    assert frames[-1]["finish_reason"] == "stop"


async def test_without_a_stream_the_last_frame_is_the_answer() -> None:
    with an_engine(says("He", "llo", finish="length")) as engine:
        answer = (await answer_to(engine, WHOLE, ask("Q"))).json()
        delta = (await answer_to(engine, WHOLE, ask("Q", delta=True))).json()
    assert (answer["text"], answer["finish_reason"]) == ("Hello", "length")
    assert (delta["delta"], delta["finish_reason"]) == ("Hello", "length")


async def test_messages_and_token_ids_reach_the_engine_as_they_came() -> None:
    with an_engine(HELLO) as engine:
        chat = [{"role": "user", "content": "你好"}]
        await answer_to(engine, WHOLE, json.dumps({"messages": chat}).encode())
        await answer_to(engine, WHOLE, b'{"prompt_token_ids": [5, 6]}')
        assert [m.content for m in engine.bodies[0].messages or ()] == ["你好"]
        assert engine.jobs[1].prompt_ids == (5, 6)


async def test_long_prompts_and_structures_are_read_off_the_event_loop() -> None:
    threads: list[str] = []

    class Watched(FakeEngine):
        def admit(self, body: Any) -> Job:
            threads.append(threading.current_thread().name)
            return super().admit(body)

    engine = Watched(HELLO, card=a_card(100_000))
    try:
        await answer_to(engine, WHOLE, ask("Q"))
        await answer_to(engine, WHOLE, ask("Q" * 20_000))
        await answer_to(engine, WHOLE, ask("Q", structured_outputs={"regex": "a"}))
    finally:
        engine.close()
    assert threads[0] == threading.current_thread().name
    assert len(threads) == 3 and threads[0] not in threads[1:]


async def test_a_count_may_wait_off_the_event_loop() -> None:
    threads: list[str] = []

    class Watched(FakeEngine):
        def count(self, text: str) -> int:
            threads.append(threading.current_thread().name)
            return super().count(text)

    with closing(Watched(HELLO)) as engine:
        await answer_to(engine, "/count_token", b'{"prompt": "a"}')
    assert threads != [threading.current_thread().name]


async def test_without_names_a_model_is_served_under_those_that_its_engine_found() -> None:
    card = dataclasses.replace(a_card(), names=("cat",))
    with an_engine(HELLO, card=card) as engine:
        status = await answer_to(engine, "/worker_get_status", b"", model_names=())
        assert status.json()["model_names"] == ["cat"]
        assert (await answer_to(engine, WHOLE, ask("Q"), model_names=())).status_code == 404
        fine = await answer_to(engine, WHOLE, ask("Q", model="cat"), model_names=())
        assert fine.json()["text"] == "Hello!"


async def test_a_busy_engine_tells_when_to_come_again() -> None:
    with an_engine(broken(by=Overloaded("busy", retry_after=7))) as engine:
        frames = frames_in((await answer_to(engine, STREAM, ask("Q"))).content)
    heard = error_in(frames[-1])
    assert isinstance(heard, Overloaded) and heard.retry_after == 7


async def test_debug_logs_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    with an_engine(HELLO) as engine, caplog.at_level(logging.DEBUG):
        await answer_to(engine, WHOLE, ask("Q", temperature=0.5))
    assert any("'temperature': 0.5" in r.getMessage() for r in caplog.records)


async def test_a_generation_leaves_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with an_engine(HELLO) as engine, caplog.at_level(logging.INFO, "danlu"):
        await answer_to(engine, STREAM, ask("Q"))
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("danlu")]
    assert line.startswith("stream end=stop prompt_tokens=3 completion_tokens=3 seconds=")


# --- errors of the engine ---


def broken(*before: str, by: Exception) -> Any:
    def script(job: Job) -> Iterator[Step]:
        yield from pieces(job, before, finish=None)
        yield by

    return script


@pytest.mark.parametrize(
    ("fault", "code"), [(RuntimeError("kaboom"), 50001), (OutOfMemory("the card is full"), 50002)]
)
async def test_a_fault_before_the_first_token_is_an_error_frame(
    fault: Exception, code: int
) -> None:
    with an_engine(broken(by=fault)) as engine:
        stream = await answer_to(engine, STREAM, ask("Q"))
        whole = await answer_to(engine, WHOLE, ask("Q"))
    (frame,) = frames_in(stream.content)
    assert stream.status_code == whole.status_code == 200
    assert frame == whole.json()
    assert frame["error_code"] == code
    assert str(fault) in frame["text"]


async def test_a_fault_in_the_middle_follows_what_was_said() -> None:
    with an_engine(broken("He", "llo", by=RuntimeError("kaboom"))) as engine:
        answer = await answer_to(engine, STREAM, ask("Q"))
        *good, last = frames_in(answer.content)
        assert [frame["text"] for frame in good] == ["He", "Hello"]
        error = error_in(last)
        assert error is not None and str(error) == "kaboom"
        assert engine.queue_length() == 0


async def test_an_engine_that_ends_without_a_word_is_an_error() -> None:
    with an_engine(lambda _: iter(())) as engine:
        answer = (await answer_to(engine, WHOLE, ask("Q"))).json()
    assert answer["error_code"] == 50001


async def test_an_engine_with_a_defect_is_an_error_and_a_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Defective(FakeEngine):
        def admit(self, body: Any) -> Job:
            raise KeyError("chat_template")

    engine = Defective(HELLO)
    try:
        answer = await answer_to(engine, STREAM, ask("Q"))
    finally:
        engine.close()
    (frame,) = frames_in(answer.content)
    assert (answer.status_code, frame["error_code"]) == (200, 50001)
    assert "KeyError" in frame["text"] and "chat_template" not in frame["text"]
    assert any(r.exc_info for r in caplog.records)


async def test_an_engine_that_takes_no_more_answers_429_and_when_to_come_back() -> None:
    class Full(FakeEngine):
        def submit(self, job: Job, box: Box) -> None:
            raise Overloaded("the queue is full", retry_after=3)

    engine = Full(HELLO)
    try:
        answer = await answer_to(engine, STREAM, ask("Q"))
    finally:
        engine.close()
    (frame,) = frames_in(answer.content)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert frame["error_code"] == 42903


# --- the other routes ---


async def test_embeddings_in_base64_are_little_endian_floats() -> None:
    with an_engine(HELLO) as engine:
        body = {"model": MODEL, "input": ["a", "b"], "encoding_format": "base64"}
        answer = await answer_to(engine, "/worker_get_embeddings", json.dumps(body).encode())
    one, other = answer.json()["embedding"]
    assert one == other
    assert struct.unpack("<2f", base64.b64decode(one)) == pytest.approx((0.6, 0.8))
    assert answer.json()["token_num"] == 8


async def test_a_fault_of_embeddings_is_an_error_object() -> None:
    with an_engine(broken(by=OutOfMemory("the card is full"))) as engine:
        answer = await answer_to(engine, "/worker_get_embeddings", b'{"input": ["a"]}')
    assert (answer.status_code, answer.json()["error_code"]) == (200, 50002)


class Stopping(FakeEngine):
    """An engine that is closed while texts wait for it."""

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        future: Future[Embeddings] = Future()
        future.cancel()
        return future


async def test_embeddings_that_a_stop_overtakes_are_not_ready() -> None:
    with closing(Stopping(HELLO)) as engine:
        answer = await answer_to(engine, "/worker_get_embeddings", b'{"input": ["a"]}')
    assert (answer.status_code, answer.json()["error_code"]) == (503, 50005)
    assert "this worker is stopping" in answer.json()["text"]


async def test_a_model_without_embeddings_says_so() -> None:
    with an_engine(HELLO, card=a_card(embeddings=False)) as engine:
        answer = await answer_to(engine, "/worker_get_embeddings", b'{"input": ["a"]}')
    assert (answer.status_code, answer.json()["error_code"]) == (400, 40001)
    assert "offers no embeddings" in answer.json()["text"]


@pytest.mark.parametrize(
    "path", ["/worker_get_conv_template", "/model_details", "/worker_get_capabilities"]
)
@pytest.mark.parametrize("body", [b"", b"{}", b'{"model": "chatglm2-6b", "more": 1}'])
async def test_questions_about_the_model_need_no_body(path: str, body: bytes) -> None:
    with an_engine(HELLO) as engine:
        assert (await answer_to(engine, path, body)).status_code == 200


async def test_capabilities_are_what_the_wire_says() -> None:
    with an_engine(HELLO) as engine:
        answer = await answer_to(engine, "/worker_get_capabilities", b"{}")
    offered = Capabilities.model_validate(answer.json())
    assert (offered.version, offered.context_length) == (__version__, 200)
    assert offered.deltas and offered.messages and offered.embeddings
    assert offered.parameters == sorted(engine.card.parameters)


async def test_the_status_counts_what_runs_and_waits() -> None:
    release = threading.Event()

    def script(job: Job) -> Iterator[Step]:
        yield release
        yield from pieces(job, ["done"])

    with an_engine(script, threads=1) as engine:
        async with client_of(an_app(engine)) as client:
            asked = [asyncio.create_task(client.post(WHOLE, content=ask("Q"))) for _ in range(3)]
            while engine.queue_length() < 3:
                await asyncio.sleep(0)
            status = (await client.post("/worker_get_status")).json()
            release.set()
            await asyncio.gather(*asked)
            after = (await client.post("/worker_get_status")).json()
    assert status == {"model_names": [MODEL], "speed": 1, "queue_length": 3}
    assert after["queue_length"] == 0


async def test_every_name_of_a_model_is_served() -> None:
    with an_engine(HELLO) as engine:
        async with client_of(an_app(engine, model_names=("a", "b"))) as client:
            for name in ("a", "b"):
                answer = await client.post(WHOLE, json={"model": name, "prompt": "Q"})
                assert answer.status_code == 200
            answer = await client.post("/worker_get_status")
    assert answer.json()["model_names"] == ["a", "b"]


# --- before the model is there, and after the stop ---


async def test_while_the_model_loads_every_route_says_so_and_health_is_fine() -> None:
    loading = Loading()
    loading.progress.set(0.25, "weights")
    async with client_of(build_app(WorkerSettings(model_path="/m"), loading)) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        ready = await client.get("/ready")
        assert ready.status_code == 503
        assert {k: ready.json()[k] for k in ("state", "progress", "detail")} == {
            "state": "loading",
            "progress": 0.25,
            "detail": "weights",
        }
        assert ready.json()["error"]["code"] == "not_ready"
        stream = await client.post(STREAM, content=ask("Q"))
        (frame,) = frames_in(stream.content)
        assert (stream.status_code, frame["error_code"]) == (503, 50005)
        assert "25%" in frame["text"]
        for path in ("worker_get_status", "count_token", "model_details", "worker_generate"):
            answer = await client.post(path, content=ask("Q"))
            assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5") or (
                path != "worker_generate"
            )


async def test_a_ready_worker_says_so() -> None:
    with an_engine(HELLO) as engine:
        async with client_of(an_app(engine)) as client:
            answer = await client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"state": "ready", "progress": 1.0, "detail": ""}


async def test_a_piece_that_both_speaks_and_ends_is_one_frame() -> None:
    def script(job: Job) -> Iterator[Step]:
        (only,) = pieces(job, ["all"], finish=None)
        yield Piece(only.text, only.usage, finish_reason="length")

    with an_engine(script) as engine:
        (frame,) = frames_in((await answer_to(engine, STREAM, ask("Q"))).content)
    assert (frame["text"], frame["finish_reason"]) == ("all", "length")
