"""Threads that belong to a device."""

import threading
from concurrent.futures import Future
from functools import partial

import pytest
from support.card import card
from support.devices import FakeDevice

from danlu.adapters.errors import ServeError
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


def test_a_thread_that_lost_its_binding_computes_nothing_says_so_and_is_bound_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device, ran, name = FakeDevice(), list[int](), card()
    pool = BoundPool(device, 1)
    pool.submit(lambda: ran.append(1)).result(30)
    device.bound.clear()  # as another library's set_device would do behind its back
    said = f"{name}-request_0 was bound to no device, not to {name}; nothing was computed"
    with pytest.raises(ServeError, match=said):
        pool.submit(lambda: ran.append(2)).result(30)
    pool.submit(lambda: ran.append(3)).result(30)
    pool.close()
    assert ran == [1, 3]
    assert f"thread strayed thread={name}-request_0 device={name} found=no device" in caplog.text


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
