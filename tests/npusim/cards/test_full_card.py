"""A card that is full, seen from the API: who asks for too much is told so, the others go on."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from npusim.cards.workers import SOON, Worker, a_worker, bound
from npusim.machine import State
from support import stack
from support.processes import wait_for
from support.served import served
from support.tiny import byte_level_tokenizer, random_model, tiny_config
from support.workers import MODEL

from danlu.worker.app import build_app
from danlu.worker.loading import loaded

pytestmark = pytest.mark.anyio

READERS = 4
# A long prompt's attention needs more at once than the allocator's small blocks of 2 MiB: a malloc
# of 20 MiB. So the card has room for what runs, and not for such a prompt.
BIG = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 2048}
ROOM = 16 << 20  # bytes
LONG = "The furnace is fired up in the morning. " * 80
ENDLESS = 1500  # tokens: whoever reads these leaves before their end


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    random_model(tiny_config(**BIG)).save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    with a_worker(tmp_path, 1, limit_worker_concurrency=READERS + 1) as worker:
        yield worker


@pytest.fixture
def api(worker: Worker) -> Iterator[str]:
    """The API of a controller that knows the worker."""
    app = build_app(worker.settings, loaded(worker.engine))
    with served(app) as url, stack.controller() as controller:
        status = {"model_names": [MODEL], "speed": 1, "queue_length": 0}
        who = {"worker_name": url, "check_heart_beat": False, "worker_status": status}
        stack.post(f"{controller.url}/register_worker", who)
        yield controller.api


def body(text: str, **more: Any) -> dict[str, Any]:
    asked = {"max_tokens": 60, "ignore_eos": True, "stream": True, **more}
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **asked}


async def contents(client: httpx.AsyncClient, seed: int, **more: Any) -> AsyncGenerator[str, None]:
    """What a streamed answer says, piece by piece."""
    asked = body("What is in the box?", seed=seed, **more)
    async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        async for line in answer.aiter_lines():
            if '"content"' in line:
                yield stack.text_of([json.loads(line.removeprefix("data: "))])


class Reader:
    """Reads an answer that is far from its end until one more piece came after `enough`."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self.begun, self.enough = asyncio.Event(), asyncio.Event()
        self.text = asyncio.create_task(self._read(client, seed))

    async def _read(self, client: httpx.AsyncClient, seed: int) -> str:
        text = ""
        async with aclosing(contents(client, seed, max_tokens=ENDLESS)) as pieces:
            async for piece in pieces:
                text += piece
                if self.enough.is_set():
                    return text
                if text:
                    self.begun.set()
        raise AssertionError(f"the answer came to its end: {text[-200:]!r}")


async def test_who_asks_for_too_much_gets_503_and_the_others_go_on(
    worker: Worker, api: str, machine: State
) -> None:
    card = machine.card[1]
    async with httpx.AsyncClient(base_url=api, timeout=SOON, trust_env=False) as client:
        alone = ["".join([p async for p in contents(client, seed)]) for seed in range(READERS)]
        bound(1, empty_cache)
        readers = [Reader(client, seed) for seed in range(READERS)]
        for reader in readers:
            await reader.begun.wait()
        card.capacity = card.used + ROOM
        for more in ({"stream": False}, {"stream": True}):
            refused = await client.post("/v1/chat/completions", json=body(LONG, **more))
            told = json.loads(refused.content)
            assert (refused.status_code, told["code"]) == (503, 50002), refused.text
            assert told["error"]["code"] == "out_of_memory"
            assert told["message"].startswith("npu:1 is out of memory")
        assert worker.engine.queue_length() == READERS
        for reader, text in zip(readers, alone, strict=True):
            reader.enough.set()
            said = await reader.text
            assert said.startswith(text) or text.startswith(said)
        card.capacity = 64 << 30
        assert (await client.post("/v1/chat/completions", json=body(LONG))).status_code == 200
    wait_for(worker.idle, "no job is left", SOON)


def empty_cache() -> None:
    torch.npu.empty_cache()  # type: ignore[attr-defined]
