"""The worker's app on each of two cards: whose threads touch them, and what is answered."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from npusim.cards.workers import SOON, STREAM, Worker, a_worker, bound, frames, together
from npusim.ledger import check_threads
from npusim.machine import State, unbind
from support.processes import wait_for
from support.tiny import tiny_loaded

from danlu.adapters.devices.cpu import CPU
from danlu.adapters.errors import ServeError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.outbox import Outbox
from danlu.worker.thread_engine import ThreadEngine

pytestmark = pytest.mark.anyio

STREAMS, SEEDS = 32, 8


@pytest.fixture(scope="module", params=[(0, "batching"), (1, "batching"), (1, "thread")])
def worker(request: pytest.FixtureRequest, tiny_dir: Path) -> Iterator[Worker]:
    card, engine = request.param
    manner = {"engine": engine, "limit_worker_concurrency": STREAMS}
    with a_worker(tiny_dir, card, **manner) as worker:
        own = [f"npu:{card}-engine"] if engine == "batching" else []
        assert [t.name for t in worker.users()] == ["loading", *own]  # none of transformers'
        yield worker


def check_ledger(worker: Worker) -> None:
    """Every thread that touched a card is ours, was bound to this one, and never went without."""
    for thread in worker.users():
        ours = ("loading", f"npu:{worker.card}-engine", f"npu:{worker.card}-request", "test")
        assert thread.name.startswith(ours), thread
    check_threads(worker.users(), worker.card)


async def test_thirty_two_streams_say_what_each_says_alone(worker: Worker, machine: State) -> None:
    async with worker.client() as client:
        alone = [(await frames(client, seed=i))[-1]["text"] for i in range(SEEDS)]
        same = await together(STREAMS, lambda i: frames(client, seed=i % SEEDS))
    assert [told[-1]["text"] for told in same] == alone * (STREAMS // SEEDS)
    assert {told[-1]["finish_reason"] for told in same} == {"length"}
    assert len(set(alone)) > SEEDS // 2
    serving = {thread.name for thread in worker.users() if thread.name.startswith("npu:")}
    alone_there = serving == {f"npu:{worker.card}-engine"}
    assert alone_there == (worker.settings.engine == "batching") and (alone_there or serving)
    check_ledger(worker)


async def test_a_card_says_what_the_host_says(worker: Worker, machine: State) -> None:
    engine = ThreadEngine(tiny_loaded(), CPU())
    box = Outbox(asyncio.get_running_loop())
    body = GenerateBody(prompt="a cat", temperature=0, max_new_tokens=16, ignore_eos=True)
    engine.submit(engine.admit(body), box)
    wanted = "".join([piece.text async for piece in box])
    engine.close()
    async with worker.client() as client:
        told = await frames(client, prompt="a cat", temperature=0, max_new_tokens=16, echo=True)
    assert told[-1]["text"] == wanted
    check_ledger(worker)


async def test_embeddings_aborts_and_counts_beside_streams(worker: Worker, machine: State) -> None:
    async with worker.client() as client:

        async def leave(_: int) -> None:
            endless = {"prompt": "a cat", "max_new_tokens": 100, "ignore_eos": True}
            async with client.stream("POST", STREAM, json=endless) as answer:
                await anext(answer.aiter_bytes())

        async def embed(i: int) -> list[float]:
            answer = await client.post(
                "/worker_get_embeddings", json={"input": ["a cat"] * (i + 1)}
            )
            vectors: list[list[float]] = answer.json()["embedding"]
            return vectors[-1]

        made = await asyncio.gather(
            together(8, lambda i: frames(client, seed=i, logprobs=2, repetition_penalty=1.2)),
            together(8, leave),
            together(8, embed),
            together(8, lambda i: client.post("/count_token", json={"prompt": "a cat " * i})),
        )
    streams, _, vectors, _ = made
    assert {told[-1]["finish_reason"] for told in streams} == {"length"}
    assert all(vector == vectors[0] for vector in vectors)
    wait_for(worker.idle, "no job is left", SOON)
    check_ledger(worker)


class Trap(Outbox):
    """A box that does something to the engine's thread once its job is over."""

    then: Callable[[], None]

    def close(self, error: ServeError | None = None) -> None:
        self.then()
        super().close(error)


def elsewhere() -> None:
    torch.npu.set_device(0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("strict", [1, 0])
@pytest.mark.parametrize(
    ("then", "found"), [(unbind, "no device"), (elsewhere, "npu:0")], ids=["unbound", "elsewhere"]
)
async def test_a_thread_that_strayed_between_two_requests_fails_the_next_one_loudly(
    then: Callable[[], None], found: str, strict: int, tiny_dir: Path, machine: State
) -> None:
    machine.strict = strict
    with a_worker(tiny_dir, 1, limit_worker_concurrency=1) as worker:
        async with worker.client() as client:
            assert (await frames(client))[-1]["finish_reason"] == "length"
            box = Trap(asyncio.get_running_loop())
            box.then = then
            worker.engine.submit(worker.engine.admit(GenerateBody(prompt="a cat")), box)
            assert [piece async for piece in box]
            peak = machine.card[0].peak
            last = (await frames(client))[-1]
            assert last["error_code"] == 50001
            assert f"was bound to {found}, not to npu:1; nothing was computed" in last["text"]
            assert machine.card[0].peak == peak
            if then is elsewhere:  # it is bound again
                assert (await frames(client))[-1]["finish_reason"] == "length"


async def test_memory_of_a_worker_goes_with_it(tiny_dir: Path, machine: State) -> None:
    def in_use() -> int:
        gc.collect()
        return bound(1, lambda: int(torch.npu.memory_allocated(1)))  # type: ignore[attr-defined]

    async def eight(worker: Worker) -> int:
        """The bytes in use once so many were answered."""
        async with worker.client() as client:
            await together(8, lambda i: frames(client, seed=i))
        worker.settle()
        return in_use()

    before = in_use()
    with a_worker(tiny_dir, 1, limit_worker_concurrency=4) as worker:
        loaded = await eight(worker)
        assert loaded > before
        assert await eight(worker) == loaded
    del worker
    wait_for(lambda: in_use() == before, "all memory is given back", SOON)
