"""Threads that are bound to a device for life. Nothing else in the worker touches the device."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..adapters.devices.device import Device

T = TypeVar("T")


class BoundPool:
    """Takes calls from any thread and runs them in order, `size` at a time, each on one thread.

    A device's context belongs to a thread: it is bound when the thread is born, and looked at
    before every call, because a thread without one works on another card without a word.
    """

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        self._thread = threading.local()
        self._pool = ThreadPoolExecutor(
            max_workers=size,
            thread_name_prefix=f"{device.name}-request",
            initializer=self._bind,
        )

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Raises RuntimeError once the pool is closed, and after a thread could not be bound."""
        return self._pool.submit(self._run, call)

    def close(self) -> None:
        """Drop what waits; what runs ends by itself, and the threads with it."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _bind(self) -> None:
        self._device.bind_thread()
        self._thread.bound = True

    def _run(self, call: Callable[[], T]) -> T:
        assert getattr(self._thread, "bound", False), "a thread that is not bound to the device"
        return call()
