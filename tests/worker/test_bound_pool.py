"""Threads that belong to a device."""

import threading
from concurrent.futures import Future
from functools import partial

import pytest
from support.devices import FakeDevice

from danlu.worker.bound_pool import BoundPool


def test_a_thread_is_bound_once_and_before_its_first_call() -> None:
    device = FakeDevice()
    pool = BoundPool(device, 3)
    together = threading.Barrier(3)  # so that three threads are needed

    def call() -> int:
        together.wait(30)
        return threading.get_ident()

    futures = [pool.submit(call) for _ in range(9)]
    callers = [future.result(30) for future in futures]
    pool.close()
    assert len(set(callers)) == 3
    assert sorted(device.bound) == sorted(set(callers))


def test_calls_run_in_the_order_they_came() -> None:
    pool, order = BoundPool(FakeDevice(), 1), list[int]()
    futures = [pool.submit(partial(order.append, i)) for i in range(20)]
    for future in futures:
        future.result(30)
    pool.close()
    assert order == list(range(20))


def test_a_thread_that_cannot_be_bound_runs_nothing() -> None:
    pool = BoundPool(FakeDevice(broken=True), 1)
    ran = list[bool]()
    future: Future[None] = pool.submit(lambda: ran.append(True))
    with pytest.raises(RuntimeError):
        future.result(30)
    pool.close()
    assert ran == []
