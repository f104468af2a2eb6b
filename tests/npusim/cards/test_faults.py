"""A card whose memory runs out, and one that is lost, in the middle of sixteen answers."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from npusim.cards.workers import SOON, Worker, a_worker, bound, frames, together
from npusim.machine import Card, State
from support.processes import wait_for
from support.tiny import byte_level_tokenizer, random_model, tiny_config

pytestmark = pytest.mark.anyio

STREAMS = 16
FULL, GONE = 50002, 50006
BIG = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2}
SEEDS = range(4)  # of the moment at which it happens

Frames = list[dict[str, Any]]


@pytest.fixture(scope="module")
def big_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers need memory beyond what the allocator takes at once."""
    directory = tmp_path_factory.mktemp("big")
    random_model(tiny_config(**BIG)).save_pretrained(directory)
    byte_level_tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture
def worker(request: pytest.FixtureRequest, big_dir: Path) -> Iterator[Worker]:
    with a_worker(big_dir, 1, engine=request.param, limit_worker_concurrency=STREAMS) as worker:
        yield worker


async def sixteen(worker: Worker) -> list[Frames]:
    async with worker.client() as client:
        return await together(STREAMS, lambda i: frames(client, seed=i, prompt="cats " * 30))


def nothing_is_short(ended: list[Frames], whole: list[Frames], code: int) -> int:
    """Each ended as without the fault, or with `code`; the number of those that did."""
    failed = 0
    for told, wanted in zip(ended, whole, strict=True):
        if told[-1].get("error_code") == code:
            failed += 1
        else:
            assert told[-1] == wanted[-1]
    return failed


def empty(card: int) -> int:
    """Give back what the allocator keeps; the bytes in use."""
    npu = torch.npu  # type: ignore[attr-defined]
    return bound(card, lambda: (npu.empty_cache(), int(npu.memory_allocated(card)))[1])


async def refused(worker: Worker, card: Card, after: int) -> list[Frames]:
    """What sixteen are told when memory runs out after so many mallocs, or sooner: threads take
    what others gave back, and so ask for less in one run than in another."""
    while True:
        empty(1)
        card.refuse(times=3, after=after)
        ended = await sixteen(worker)
        if card.refuse_in <= 0:
            return ended
        after //= 2


@pytest.mark.parametrize(
    ("worker", "seeds"), [("batching", SEEDS), ("thread", SEEDS[:2])], indirect=["worker"]
)
async def test_memory_that_runs_out_ends_the_request_and_no_other(
    worker: Worker, seeds: range, machine: State
) -> None:
    card = machine.card[1]
    in_use = empty(1)
    before = card.mallocs
    whole = await sixteen(worker)
    mallocs = card.mallocs - before
    for seed in seeds:
        ended = await refused(worker, card, random.Random(seed).randrange(mallocs))
        assert 1 <= nothing_is_short(ended, whole, FULL) < STREAMS
        wait_for(worker.idle, "no job is left", SOON)
        wait_for(lambda: empty(1) == in_use, "all memory is given back", SOON)
        card.mend()
    assert await sixteen(worker) == whole


@pytest.mark.parametrize(
    ("worker", "seed"),
    [*(("batching", seed) for seed in SEEDS), ("thread", 0)],
    indirect=["worker"],
)
async def test_a_lost_card_ends_every_answer_with_an_error(
    seed: int, worker: Worker, machine: State
) -> None:
    calls = sum(thread.calls for thread in worker.users())
    whole = await sixteen(worker)
    calls = sum(thread.calls for thread in worker.users()) - calls
    machine.card[1].lose(after=random.Random(seed).randrange(calls * 3 // 4))
    ended = await sixteen(worker)
    assert nothing_is_short(ended, whole, GONE) >= 1
    assert worker.engine.lost.done()
    wait_for(worker.idle, "no job is left", SOON)
    async with worker.client() as client:
        assert (await frames(client))[-1]["error_code"] == GONE


async def test_a_model_that_computes_no_numbers_is_an_error(tmp_path: Path, machine: State) -> None:
    model: Any = random_model(tiny_config())
    model.lm_head.weight.fill_(torch.nan)
    model.save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    with a_worker(tmp_path, 1) as worker:
        async with worker.client() as client:
            last = (await frames(client))[-1]
    assert last["error_code"] == 50001
    assert "the model's output is not a number at token 1" in last["text"]
