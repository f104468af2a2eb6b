"""The registry: who is known, how busy each is, and that what goes up comes down."""

from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from danlu.adapters.errors import NoWorker, UnknownModel
from danlu.adapters.wire.fastchat import WorkerStatus
from danlu.controller.dispatch import lottery
from danlu.controller.registry import Registry

ONE, TWO = "http://one", "http://two"


def a_status(*models: str, queue: int = 0, speed: float = 1) -> WorkerStatus:
    return WorkerStatus(model_names=list(models or ("m",)), speed=speed, queue_length=queue)


def a_registry(*addresses: str, expiry: float = 90, **more: Any) -> Registry:
    registry = Registry(expiry, **more)
    for address in addresses:
        registry.join(address, a_status(), now=0)
    return registry


def leased(registry: Registry, model: str = "m") -> tuple[AbstractContextManager[str], str]:
    lease = registry.lease(model)
    return lease, lease.__enter__()


def test_a_worker_that_goes_quiet_is_dropped() -> None:
    registry = a_registry(ONE)
    assert registry.expire(now=90) == []
    assert registry.expire(now=90.1) == [ONE]
    assert registry.models() == []


def test_a_heart_beat_keeps_a_worker() -> None:
    registry = a_registry(ONE)
    assert registry.beat(ONE, 0, now=80)
    assert registry.expire(now=170) == []
    assert registry.expire(now=171) == [ONE]


def test_an_answer_to_a_question_is_a_sign_of_life_too() -> None:
    registry = a_registry(ONE)
    assert registry.update(ONE, a_status(), now=80)
    assert registry.expire(now=170) == []


def test_an_open_port_is_no_sign_of_life() -> None:
    registry = a_registry(ONE)
    registry.touch(ONE, now=80)
    assert registry.expire(now=100) == [ONE]


def test_a_worker_that_owes_no_heart_beats_never_expires() -> None:
    registry = Registry(90)
    registry.join(ONE, a_status(), now=0, check_heart_beat=False)
    assert registry.expire(now=1e9) == []


def test_a_heart_beat_of_a_stranger_is_told_so() -> None:
    registry = a_registry(ONE)
    assert not registry.beat(TWO, 0, now=0)
    assert not registry.update(TWO, a_status(), now=0)
    registry.touch(TWO, now=0)
    assert registry.addresses() == [ONE]


def test_a_goodbye_is_heard_once() -> None:
    registry = a_registry(ONE)
    assert registry.leave(ONE)
    assert not registry.leave(ONE)


def test_a_worker_that_was_tried_in_vain_is_gone() -> None:
    registry = a_registry(ONE)
    registry.lose(ONE, since=5, why="refused")
    assert registry.addresses() == []
    registry.lose(ONE, since=5, why="refused")


def test_a_worker_that_spoke_after_it_was_tried_stays() -> None:
    registry = a_registry(ONE)
    registry.join(ONE, a_status(), now=6)
    registry.lose(ONE, since=5, why="refused")
    assert registry.addresses() == [ONE]


def test_registering_again_replaces_what_was_known() -> None:
    registry = a_registry(ONE)
    registry.join(ONE, a_status("other", speed=2), now=1, multimodal=True)
    assert registry.models() == ["other"]
    assert registry.models(multimodal=False) == []
    assert registry.total().speed == 2


def test_models_are_listed_once_and_sorted() -> None:
    registry = Registry(90)
    registry.join(ONE, a_status("b", "a"), now=0)
    registry.join(TWO, a_status("a", "c"), now=0, multimodal=True)
    assert registry.models() == ["a", "b", "c"]
    assert registry.models(multimodal=True) == ["a", "c"]
    assert registry.models(multimodal=False) == ["a", "b"]


def test_leases_of_equal_workers_take_turns() -> None:
    registry = a_registry(ONE, TWO)
    with registry.lease("m") as first, registry.lease("m") as second:
        assert (first, second) == (ONE, TWO)


def test_addresses_of_equal_workers_take_turns() -> None:
    registry = a_registry(ONE, TWO)
    given = [registry.hand_out("m") for _ in range(4)]
    assert [worker and worker.address for worker in given] == [ONE, TWO, ONE, TWO]


def test_an_address_counts_until_the_workers_next_word() -> None:
    registry = a_registry(ONE)
    registry.hand_out("m")
    registry.hand_out("m")
    assert registry.load(ONE) == 2
    registry.beat(ONE, 1, now=1)
    assert registry.load(ONE) == 1


def test_what_others_sent_stays_when_ours_ends() -> None:
    registry = a_registry(ONE)
    lease, _ = leased(registry)
    registry.beat(ONE, 3, now=1)  # ours and two of others
    assert registry.load(ONE) == 3
    lease.__exit__(None, None, None)
    assert registry.load(ONE) == 2


def test_a_lease_that_a_beat_does_not_know_of_yet_is_not_counted_twice() -> None:
    registry = a_registry(ONE)
    with registry.lease("m"):
        registry.beat(ONE, 0, now=1)
        assert registry.load(ONE) == 1
    assert registry.load(ONE) == 0


def test_a_lease_is_given_back_when_its_request_fails() -> None:
    registry = a_registry(ONE)
    with suppress(RuntimeError), registry.lease("m"):
        raise RuntimeError("the request failed")
    assert registry.load(ONE) == 0


def test_leases_outlive_the_entry_of_their_worker() -> None:
    registry = a_registry(ONE)
    lease, _ = leased(registry)
    registry.leave(ONE)
    assert registry.load(ONE) == 1
    registry.join(ONE, a_status(queue=1), now=1)
    assert registry.load(ONE) == 1
    lease.__exit__(None, None, None)
    assert registry.load(ONE) == 0


def test_a_model_that_nobody_serves_is_named() -> None:
    registry = a_registry(ONE)
    with pytest.raises(UnknownModel, match="nobody serves model 'x'"):
        leased(registry, "x")
    assert registry.hand_out("x") is None


def test_workers_that_failed_already_are_avoided() -> None:
    registry = a_registry(ONE, TWO)
    with registry.lease("m", {ONE}) as address:
        assert address == TWO
    with pytest.raises(NoWorker, match="'m'"), registry.lease("m", {ONE, TWO}):
        pass


def test_the_lottery_asks_for_chance() -> None:
    registry = a_registry(ONE, TWO, policy=lottery, chance=lambda: 0.9)
    with registry.lease("m") as address:
        assert address == TWO


def test_the_total_is_all_workers_as_if_they_were_one() -> None:
    registry = a_registry(ONE)
    registry.join(TWO, a_status("n", queue=2, speed=0.5), now=0)
    with registry.lease("m"):
        assert registry.total() == WorkerStatus(model_names=["m", "n"], speed=1.5, queue_length=3)


ADDRESSES = st.sampled_from([ONE, TWO, "http://three"])
QUEUES = st.integers(0, 5)


class AnyOrder(RuleBasedStateMachine):
    """Workers come, go and report what they like, while requests begin and end."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(10)
        self.now = 0.0
        self.open: list[tuple[AbstractContextManager[str], str]] = []

    @initialize()
    def somebody_is_there(self) -> None:
        self.registry.join(ONE, a_status(), now=0)

    @rule(address=ADDRESSES, queue=QUEUES)
    def join(self, address: str, queue: int) -> None:
        self.registry.join(address, a_status(queue=queue), now=self.now)

    @rule(address=ADDRESSES, queue=QUEUES)
    def beat(self, address: str, queue: int) -> None:
        self.registry.beat(address, queue, self.now)

    @rule(address=ADDRESSES)
    def leave(self, address: str) -> None:
        self.registry.leave(address)

    @rule(address=ADDRESSES, ago=st.floats(0, 20))
    def lose(self, address: str, ago: float) -> None:
        self.registry.lose(address, self.now - ago, "refused")

    @rule(seconds=st.floats(0, 8))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.registry.expire(self.now)

    @rule()
    def hand_out(self) -> None:
        self.registry.hand_out("m")

    @rule()
    def begin(self) -> None:
        with suppress(UnknownModel, NoWorker):
            self.open.append(leased(self.registry))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.open:
            lease, _ = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            lease.__exit__(None, None, None)

    @invariant()
    def a_load_is_never_less_than_our_leases(self) -> None:
        for address in self.registry.addresses():
            ours = sum(leased_there == address for _, leased_there in self.open)
            assert self.registry.load(address) >= ours

    def teardown(self) -> None:
        """Everything ends, every worker says that it is idle: every counter is at zero."""
        for lease, _ in self.open:
            lease.__exit__(None, None, None)
        for address in (ONE, TWO, "http://three"):
            self.registry.beat(address, 0, self.now)
            assert self.registry.load(address) == 0
        assert self.registry.total().queue_length == 0


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
