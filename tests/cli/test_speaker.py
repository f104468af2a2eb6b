"""A worker's engine that answers in the terminal."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from support.engines import FakeEngine, Step, a_card, pieces, says

from danlu.adapters.errors import BadRequest, OutOfMemory, OutOfRange, PromptTooLong
from danlu.adapters.wire.generation import Message
from danlu.cli.speaker import EngineSpeaker, Wishes
from danlu.worker.job import Job

WISHES = Wishes(temperature=0.0, repetition_penalty=1.2, max_new_tokens=64)
HELLO = [Message(role="user", content="你好")]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def test_an_answer_comes_in_parts_and_an_account_of_it_is_given(runner: asyncio.Runner) -> None:
    engine = FakeEngine(says("你", "好", "！"))
    ticks = iter([10.0, 10.5, 11.0, 11.5, 12.0])
    speaker = EngineSpeaker(engine, runner, WISHES, clock=lambda: next(ticks))
    assert "".join(speaker.answer(HELLO)) == "你好！"
    assert speaker.account() == "4 + 3 tokens, 1.5 tokens/s, ended by stop"
    engine.close()


def test_the_wishes_reach_the_engine(runner: asyncio.Runner) -> None:
    engine = FakeEngine(says("x"))
    list(EngineSpeaker(engine, runner, WISHES).answer(HELLO))
    (body,) = engine.bodies
    assert body.messages == HELLO
    assert (body.temperature, body.repetition_penalty, body.max_new_tokens) == (0.0, 1.2, 64)
    assert body.echo is False
    engine.close()


def test_what_cannot_be_answered_is_refused_before_anything_is_shown(
    runner: asyncio.Runner,
) -> None:
    engine = FakeEngine(says("x"), card=a_card(context_length=3))
    with pytest.raises(PromptTooLong):
        EngineSpeaker(engine, runner, WISHES).answer(HELLO)
    engine.close()


def test_an_engines_error_is_the_speakers(runner: asyncio.Runner) -> None:
    def script(job: Job) -> Iterator[Step]:
        yield from pieces(job, ["half"], finish=None)
        yield OutOfMemory("the device is full")

    engine = FakeEngine(script)
    answer = EngineSpeaker(engine, runner, WISHES).answer(HELLO)
    assert next(answer) == "half"
    with pytest.raises(OutOfMemory, match="the device is full"):
        next(answer)
    engine.close()


def test_ctrl_c_stops_the_engine_and_the_next_question_is_answered(
    runner: asyncio.Runner,
) -> None:
    never = threading.Event()

    def script(job: Job) -> Iterator[Step]:
        yield from pieces(job, ["half"], finish=None)
        if len(engine.jobs) == 1:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            yield never
        yield from pieces(job, [" done"])

    engine = FakeEngine(script)
    speaker = EngineSpeaker(engine, runner, WISHES)
    answer = speaker.answer(HELLO)
    assert next(answer) == "half"
    with pytest.raises(KeyboardInterrupt):
        next(answer)
    assert "".join(speaker.answer(HELLO)) == "half done"
    engine.close()
    assert engine.left == 1


@pytest.mark.parametrize("wishes", [Wishes(0.0, 0.0, 64), Wishes(float("nan"), 1.0, 64)])
def test_an_illegal_wish_is_refused_by_name(runner: asyncio.Runner, wishes: Wishes) -> None:
    engine = FakeEngine(says("x"))
    with pytest.raises((OutOfRange, BadRequest), match=r"temperature|repetition_penalty"):
        EngineSpeaker(engine, runner, wishes).answer(HELLO)
    engine.close()
