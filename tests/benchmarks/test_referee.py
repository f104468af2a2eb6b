"""The referee with contenders that are real processes without models."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.contest import Prompt, Standing, Task
from benchmarks.referee import WARM_UP, Process, referee

TESTS = Path(__file__).resolve().parents[1]
PATHS = {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


def contest(*kinds: str, rounds: int = 2) -> tuple[dict[str, Standing], list[str], list[int]]:
    """Standings, what was said, and the rounds that tasks were made for."""
    said: list[str] = []
    made: list[int] = []

    def task(number: int) -> Task:
        made.append(number)
        return Task((Prompt("a", (1,)),), 3)

    processes = [
        Process(kind, [sys.executable, "-m", "support.contender", kind], PATHS) for kind in kinds
    ]
    try:
        referee(processes, {1: task}, rounds, say=said.append)
    finally:
        for process in processes:
            process.close()
    return {process.standing.name: process.standing for process in processes}, said, made


@pytest.mark.slow
def test_contenders_take_turns_and_their_outcomes_are_kept() -> None:
    standings, said, made = contest("good", "noisy")
    assert [line.rpartition(" ")[2] for line in said] == ["good", "noisy", "good", "noisy"]
    assert made == [WARM_UP, WARM_UP, 0, 0, 1, 1]
    for standing in standings.values():
        assert len(standing.outcomes[1]) == 2
        assert standing.outcomes[1][0].arrivals == [[1.0, 2.0, 3.0]]
        assert standing.peak > 2**20


@pytest.mark.slow
def test_who_is_missing_or_breaks_down_is_named_and_the_others_go_on() -> None:
    standings, _, _ = contest("missing", "breaks", "good")
    assert standings["missing"].missing == "there is no such thing here"
    assert "broke down (exit status 3)" in standings["breaks"].missing
    assert len(standings["good"].outcomes[1]) == 2
    assert standings["breaks"].outcomes == {}
