"""Two processes on two cards, through torch_npu's own group over HCCL: what they say to each other,
and a model that is trained in halves. One pair of processes does it all (rank.py)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from npusim.machine import State, of
from support.processes import free_port

PATIENCE = 150.0  # seconds
FORMATS = ("float32", "float16", "bfloat16", "int32", "int64")


@dataclass(frozen=True, slots=True)
class Pair:
    seen: list[dict[str, Any]]
    machines: list[State]

    def of(self, name: str) -> list[Any]:
        return [seen[name] for seen in self.seen]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, states = tmp_path_factory.mktemp("seen"), tmp_path_factory.mktemp("states")
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    env = {**os.environ, **place, "NPUSIM_MODE": "strict", "NPUSIM_STATE": str(states)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "npusim.cards.rank", str(folder)],
            env={**env, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in started:
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, output[-4000:]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    seen = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    yield Pair(seen, [of(states, process.pid) for process in started])


def test_numbers_of_both_are_reduced_in_every_format(pair: Pair) -> None:
    for each in pair.of("collectives"):
        for dtype in FORMATS:
            assert each[f"SUM torch.{dtype}"] == [10, 12, 14]
            assert each[f"MAX torch.{dtype}"] == [10, 11, 12]
            assert each[f"MIN torch.{dtype}"] == [0, 1, 2]
        assert each["AVG"] == [5, 6, 7]
        assert each["SUM torch.bool"] == [True, True, True]


def test_numbers_reach_the_rank_that_they_are_meant_for(pair: Pair) -> None:
    both = [0, 1, 2, 10, 11, 12]
    for rank, each in enumerate(pair.of("collectives")):
        assert each["broadcast"] == [10, 11, 12]
        assert each["all_gather"] == each["all_gather listed"] == both
        assert each["reduce_scatter"] == [[10, 12, 14], [16, 18, 20]][rank]


@pytest.mark.parametrize("way", ["objects", "hccl alone"])
def test_objects_travel_over_the_host_and_over_the_cards(way: str, pair: Pair) -> None:
    assert pair.of(way) == [[{"rank": 0}, {"rank": 1}, "of 0"]] * 2


def test_each_card_holds_half_of_the_rows(pair: Pair) -> None:
    for rank, each in enumerate(pair.of("npu")):
        assert each["device"] == f"npu:{rank}"
        assert each["sizes"] == [[32, 48], [16, 48]]


def test_training_in_halves_on_cards_is_what_it_is_on_the_host(pair: Pair) -> None:
    for card, host in zip(pair.of("npu"), pair.of("cpu"), strict=True):
        for fact in ("losses", "norms", "whole"):
            assert card[fact] == pytest.approx(host[fact], rel=1e-3, abs=1e-4), fact


@pytest.mark.parametrize("what", ["npu", "torch.bfloat16", "torch.float16"])
def test_the_loss_falls_and_shards_come_back_from_a_checkpoint(what: str, pair: Pair) -> None:
    for each in pair.of(what):
        first, *_, last = each["losses"]
        assert last < first
        assert each["came back"]


def test_ranks_that_call_different_collectives_are_told_which(pair: Pair) -> None:
    for said in pair.of("other calls"):
        for each in said:
            assert "EI0005" in each
            assert "rank 0 calls HcclAllReduce" in each
            assert "rank 1 calls HcclBroadcast" in each


def test_a_rank_that_does_not_come_is_waited_for_so_long_and_no_longer(pair: Pair) -> None:
    assert "EI0002" in pair.seen[0]["silence"]


def test_a_rank_that_died_is_an_error_at_once(pair: Pair) -> None:
    assert "EI0006" in pair.seen[0]["death"]
    assert "rank 1 is gone" in pair.seen[0]["death"]


def test_no_thread_touches_the_other_card_autograds_own_included(pair: Pair) -> None:
    for rank, machine in enumerate(pair.machines):
        users = machine.users()
        assert any(not thread.python for thread in users), "the backward pass has its own thread"
        for thread in users:
            assert thread.cards == 1 << rank, thread
            assert thread.astray == thread.defaulted == 0, thread
        assert machine.card[1 - rank].mallocs == 0
