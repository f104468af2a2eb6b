"""What counts as left behind, and the engine benchmarks on an engine without a model."""

import argparse
import random
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.engines import FakeEngine, Script, Step, pieces, says
from support.tiny import byte_level_tokenizer

from benchmarks.arrivals import gaps, measured
from benchmarks.models import MODELS
from benchmarks.rounds import Round, faults_of, one_round
from benchmarks.seams import Opened, Stream
from benchmarks.turns import waits
from danlu.worker.job import Job
from danlu.worker.outbox import Box

GOOD = Round(
    streams=10, closed_once=10, failed=0, left=3, queue=0, memory=90, peak=100, seconds=1.0
)


def test_rounds_that_leave_nothing_have_no_faults() -> None:
    assert faults_of([replace(GOOD, peak=50), GOOD, replace(GOOD, peak=101)]) == []


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        (replace(GOOD, closed_once=9), "round 3: 1 streams not closed once"),
        (replace(GOOD, failed=2), "round 3: 2 streams failed"),
        (replace(GOOD, queue=1), "round 3: 1 still run or wait"),
        (replace(GOOD, peak=2**21), "peak memory grew by 2 MiB from round 2 to round 3"),
    ],
)
def test_whatever_is_left_behind_is_told(last: Round, fault: str) -> None:
    assert faults_of([GOOD, GOOD, last]) == [fault]


def test_a_stream_that_leaves_is_abandoned_after_as_many_pieces() -> None:
    stream = Stream(leave_after=2)
    job = Job((1,), 4)
    seen = []
    for piece in pieces(job, ["a", "b", "c"]):
        if stream.abandoned:
            break
        stream.put(piece)
        seen.append(piece.text)
    assert seen == ["a", "b"]
    assert Stream(leave_after=0).abandoned and not Stream().abandoned


def test_gaps_are_those_while_all_streams_ran() -> None:
    first, second = Stream(), Stream()
    first.times, second.times = [0.0, 1.0, 3.0, 6.0], [1.0, 5.0]
    assert gaps([first, second]) == [2.0, 4.0]


def an_opened(script: Script) -> Opened:
    return Opened(FakeEngine(script, threads=8), byte_level_tokenizer(), MODELS["smollm2"])


def asked(**changes: float) -> argparse.Namespace:
    """The flags of the engine benchmarks, small."""
    small = {"requests": 20, "at_a_time": 4, "longest_prompt": 9, "longest_answer": 5, "left": 0.5}
    running = {"streams": 2, "tokens": 3, "long": 60, "new": 4}
    return argparse.Namespace(**{**small, **running, **changes})


def test_a_round_of_an_engine_that_keeps_its_word() -> None:
    engine = an_opened(says("a", "b", "c", "d", "e", "f"))
    found = one_round(engine, asked(), 1)
    engine.engine.close()
    assert faults_of([found]) == []
    assert (found.streams, found.closed_once) == (20, 20)
    assert 0 < found.left < 20


def test_a_round_of_an_engine_that_fails() -> None:
    def broken(job: Job) -> Iterator[Step]:
        raise RuntimeError("kaboom")
        yield

    engine = an_opened(broken)
    found = one_round(engine, asked(left=0.0), 1)
    engine.engine.close()
    assert faults_of([found]) == ["round 1: 20 streams failed"]


class Twice(FakeEngine):
    """Closes every box twice."""

    def submit(self, job: Job, box: Box) -> None:
        box.close()
        box.close()


def test_a_round_of_an_engine_that_closes_twice() -> None:
    engine = Opened(Twice(says("a")), byte_level_tokenizer(), MODELS["smollm2"])
    found = one_round(engine, asked(), 1)
    engine.engine.close()
    assert faults_of([found]) == ["round 1: 20 streams not closed once"]


def test_long_prompts_arrive_while_streams_run() -> None:
    arrived = threading.Event()

    def script(job: Job) -> Iterator[Step]:
        told = pieces(job, ["a", "b", "c"], "length")
        if len(job.prompt_ids) == 60:
            yield from told
            arrived.set()
            return
        yield next(told)
        yield arrived
        yield from told

    engine = an_opened(script)
    during, count = measured(engine, asked(), 0, arriving=True)
    _, none = measured(engine, asked(), 0, arriving=False)
    engine.engine.close()
    assert count >= 1 and none == 0
    assert during.count > 0


def test_a_turn_is_asked_with_all_that_was_said_before() -> None:
    engine = an_opened(says("yes", "."))
    fake = engine.engine
    assert isinstance(fake, FakeEngine)
    found = waits(engine, asked(), random.Random(1), turns=3, new=4)
    fake.close()
    assert len(found) == 3
    roles = [[m.role for m in body.messages or ()] for body in fake.bodies]
    assert roles[2] == ["user", "assistant", "user", "assistant", "user"]
    last = fake.bodies[2].messages
    assert last is not None and last[1].content == "yes."
    assert len(last[4].content.split()) == 4
