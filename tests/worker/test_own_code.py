"""A model that brings its own class, `chat` and `stream_chat`, served by threads that are bound."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.card import HOST, card, loading
from support.own_code import save_own
from support.processes import wait_for
from transformers import AutoModel

import danlu
from danlu.adapters.errors import StartError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.engine import AnyEngine
from danlu.worker.loading import Progress
from danlu.worker.local_engines import load_engine
from danlu.worker.outbox import Outbox
from danlu.worker.settings import WorkerSettings
from danlu.worker.thread_engine import ThreadEngine

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

TOKENS = 12
SOON = 60.0  # seconds
QUESTIONS = ["What is in the box?", "a cat", "two dogs", "good morning"]


@pytest.fixture(scope="module")
def own_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_own(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def expected(own_dir: Path) -> dict[str, str]:
    """What the class' own `chat` says, on the host."""
    tokenizer = danlu.AutoTokenizer.from_pretrained(own_dir, trust_remote_code=True)
    model: Any = AutoModel.from_pretrained(own_dir, trust_remote_code=True).eval()
    return {text: model.chat(tokenizer, text, max_new_tokens=TOKENS)[0] for text in QUESTIONS}


@pytest.fixture
def engine(own_dir: Path) -> Iterator[AnyEngine]:
    settings = WorkerSettings(
        model_path=str(own_dir), device=card(), trust_remote_code=True, limit_worker_concurrency=4
    )
    engine = loading(lambda: load_engine(settings, Progress()))
    yield engine
    engine.close()


def asked(engine: AnyEngine, text: str, **fields: Any) -> Outbox:
    facts = {"temperature": 0, "max_new_tokens": TOKENS, "ignore_eos": True, "echo": False}
    box = Outbox(asyncio.get_running_loop())
    engine.submit(engine.admit(GenerateBody(prompt=text, **{**facts, **fields})), box)
    return box


async def read(box: AsyncIterator[Any]) -> str:
    return "".join([piece.text async for piece in box])


async def test_it_says_what_its_own_chat_says_with_others_beside_it(
    engine: AnyEngine, expected: dict[str, str]
) -> None:
    """Streams, vectors, and readers who leave."""
    assert isinstance(engine, ThreadEngine)
    boxes = [asked(engine, text) for text in QUESTIONS * 4]
    for _ in range(4):
        asked(engine, "a cat", max_new_tokens=100).leave()
    vectors = asyncio.wrap_future(engine.embed(["a cat", "a cat"]))
    said = await asyncio.gather(*map(read, boxes))
    assert said == [expected[text] for text in QUESTIONS] * 4
    assert len(set(said)) == len(QUESTIONS)
    first, second = (await vectors).vectors
    assert first == second
    wait_for(lambda: engine.queue_length() == 0, "no job is left", SOON)


def test_a_script_chats_with_it_from_any_thread(own_dir: Path) -> None:
    model = danlu.AutoModel.from_pretrained(own_dir, trust_remote_code=True, device=card())
    tokenizer = danlu.AutoTokenizer.from_pretrained(own_dir, trust_remote_code=True)
    ask = partial(model.chat, tokenizer, do_sample=False, max_new_tokens=TOKENS)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(ask, QUESTIONS * 2))
    assert replies[:4] == replies[4:] and len({reply.response for reply in replies}) > 1
    for text, reply in zip(QUESTIONS, replies, strict=False):
        *_, last = model.stream_chat(tokenizer, text, do_sample=False, max_new_tokens=TOKENS)
        assert last == reply
    model.close()


def test_code_that_nobody_trusts_is_not_run(own_dir: Path) -> None:
    with pytest.raises(StartError, match="start with --trust-remote-code if you trust it"):
        load_engine(WorkerSettings(model_path=str(own_dir), device=HOST), Progress())
