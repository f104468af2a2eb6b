"""Registration: a controller that is not there, forgets, goes and comes back; hello to goodbye."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.processes import SOON

from danlu.adapters.errors import ServeError, WorkerUnreachable
from danlu.adapters.wire.fastchat import HeartBeat, Registration
from danlu.worker.registration import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Call,
    Identity,
    Membership,
    Outcome,
    registered,
)

pytestmark = pytest.mark.anyio

A, B = "http://a:21001", "http://b:21001"
WHO = Identity("http://w:21002", lambda: ("m", "n"), lambda: 3)
GONE = WorkerUnreachable("cannot be reached")


class FakeController:
    """Answers what it is told to, then what a controller would; writes down what it heard."""

    def __init__(self, *answers: Any) -> None:
        self.heard: list[tuple[str, str, dict[str, Any]]] = []
        self._answers = deque(answers)
        self._known: set[str] = set()

    async def post(self, url: str, body: Any = None, *, timeout: float) -> Any:
        base, _, path = url.rpartition("/")
        self.heard.append((base, path, body))
        answer = self._answers.popleft() if self._answers else self._usual(base, path)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def paths(self, base: str = A) -> list[str]:
        return [path for where, path, _ in self.heard if where == base]

    def _usual(self, base: str, path: str) -> Any:
        known = base in self._known
        if path == "register_worker":
            self._known.add(base)
            return None
        return {"exist": known}


class Clock:
    """A sleep that takes no time; the test waits for the n-th and reads how long they were."""

    def __init__(self, until: int) -> None:
        self.slept: list[float] = []
        self.reached = asyncio.Event()
        self._until = until

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) >= self._until:
            self.reached.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


async def lived(
    http: FakeController, sleeps: int, controllers: Iterable[str] = (A,)
) -> list[float]:
    """A worker's life until its `sleeps`-th pause."""
    clock = Clock(sleeps)
    async with registered(WHO, list(controllers), http, interval=45, sleep=clock.sleep):
        await asyncio.wait_for(clock.reached.wait(), SOON)
    return clock.slept


async def test_it_registers_beats_and_says_goodbye() -> None:
    http = FakeController()
    assert await lived(http, 3) == [45, 45, 45]
    assert http.paths() == [
        "register_worker",
        "receive_heart_beat",
        "receive_heart_beat",
        "unregister_worker",
    ]


async def test_what_it_says_is_what_the_wire_knows() -> None:
    http = FakeController()
    await lived(http, 2)
    (_, _, hello), (_, _, beat), (_, _, goodbye) = http.heard
    assert hello == {
        "worker_name": "http://w:21002",
        "check_heart_beat": True,
        "worker_status": {"model_names": ["m", "n"], "speed": 1, "queue_length": 3},
        "multimodal": False,
    }
    assert Registration.model_validate(hello) and HeartBeat.model_validate(beat)
    assert beat == {"worker_name": "http://w:21002", "queue_length": 3}
    assert goodbye == {"worker_name": "http://w:21002"}


async def test_it_waits_for_a_controller_that_is_not_there_yet() -> None:
    http = FakeController(*[GONE] * 6)
    assert await lived(http, 7) == [0.5, 1, 2, 4, 4, 4, 45]
    assert http.paths()[:7] == ["register_worker"] * 7


async def test_a_controller_that_forgot_it_is_told_at_once() -> None:
    http = FakeController(None, {"exist": False})
    assert await lived(http, 3) == [45, 0, 45]
    assert http.paths()[:3] == ["register_worker", "receive_heart_beat", "register_worker"]


async def test_a_controller_that_was_started_anew_knows_it_again_soon() -> None:
    http = FakeController(None, GONE, GONE, {"exist": False})
    assert await lived(http, 5) == [45, 0.5, 1, 0, 45]
    assert http.paths()[3:5] == ["receive_heart_beat", "register_worker"]


async def test_a_controller_that_only_paused_is_not_registered_with_again() -> None:
    http = FakeController(None, GONE, {"exist": True})
    await lived(http, 3)
    assert http.paths()[:3] == ["register_worker", "receive_heart_beat", "receive_heart_beat"]


@pytest.mark.parametrize("answer", [None, {}, [], "yes", ServeError("answered 500: oops")])
async def test_an_answer_that_is_none_is_no_welcome_and_no_crash(answer: Any) -> None:
    http = FakeController(None, answer, {"exist": True})
    assert await lived(http, 3) == [45, 0.5, 45]


async def test_every_controller_is_attended_by_itself() -> None:
    class OneIsDead(FakeController):
        def _usual(self, base: str, path: str) -> Any:
            return GONE if base == B else super()._usual(base, path)

    http = OneIsDead()
    await lived(http, 12, controllers=(A, B))
    assert "receive_heart_beat" in http.paths(A)
    assert set(http.paths(B)) == {"register_worker", "unregister_worker"}
    assert http.paths(A)[-1] == "unregister_worker"


async def test_a_goodbye_that_nobody_hears_stops_nothing() -> None:
    http = FakeController(None, ServeError("answered 404: Not Found"))
    await lived(http, 1)
    assert http.paths() == ["register_worker", "unregister_worker"]


async def test_a_change_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    http = FakeController(GONE, GONE, None, {"exist": True}, GONE, GONE, {"exist": False}, None)
    with caplog.at_level(logging.INFO):
        await lived(http, 8)
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == [
        "waiting",
        "registered",
        "waiting",
        "forgotten",
        "registered",
    ]


@given(outcomes=st.lists(st.sampled_from(Outcome), max_size=40))
def test_whatever_happens_the_next_call_is_soon_unless_all_is_well(
    outcomes: list[Outcome],
) -> None:
    member = Membership(interval=45)
    for outcome in outcomes:
        call = member.call
        pause = member.after(outcome)
        if outcome is Outcome.WELCOME:
            assert (pause, member.call) == (45, Call.BEAT)
        elif outcome is Outcome.FORGOTTEN:
            assert (pause, member.call) == (0, Call.REGISTER)
        else:
            assert FIRST_PAUSE <= pause <= LONGEST_PAUSE
            assert member.call is call


def test_a_short_interval_is_also_the_longest_pause() -> None:
    assert Membership(interval=0.2).after(Outcome.UNREACHABLE) == 0.2


async def test_controllers_are_told_at_once_when_other_names_are_served() -> None:
    """A stock controller learns names from a registration alone."""
    names = ["m"]
    who = Identity("http://w:21002", lambda: tuple(names), lambda: 0)
    http = FakeController()

    async def for_ever(seconds: float) -> None:
        await asyncio.Event().wait()

    async def until(count: int) -> None:
        async with asyncio.timeout(SOON):
            while len(http.heard) < count:
                await asyncio.sleep(0)

    async with registered(who, [A, B], http, interval=45, sleep=for_ever) as tell:
        await until(2)
        names.append("m:poet")
        tell()
        await until(4)
    said = [(path, body["worker_status"]["model_names"]) for _, path, body in http.heard[:4]]
    assert said == [("register_worker", ["m"])] * 2 + [("register_worker", ["m", "m:poet"])] * 2
