"""Threads that are bound to a device for life. Nothing else in the worker touches the device."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..adapters.devices.device import Device
from ..adapters.errors import ServeError

T = TypeVar("T")

log = logging.getLogger(__name__)


class BoundPool:
    """Takes calls from any thread and runs them in order, `size` at a time, each on one thread.

    A device's context belongs to a thread: it is bound when the thread is born, and the device is
    asked for it before every call, because a thread without one works on another card without a
    word.
    """

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        self._pool = ThreadPoolExecutor(
            max_workers=size,
            thread_name_prefix=f"{device.name}-request",
            initializer=device.bind_thread,
        )

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Raises RuntimeError once the pool is closed, and after a thread could not be bound."""
        return self._pool.submit(self._run, call)

    def close(self) -> None:
        """Drop what waits; what runs ends by itself, and the threads with it."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, call: Callable[[], T]) -> T:
        check_thread(self._device)
        return call()


def check_thread(device: Device) -> None:
    """Raises ServeError, which is logged, if the calling thread is not where it was bound to; it is
    bound anew, and the next look will tell whether that helped."""
    found = device.where()
    if found == device.name:
        return
    device.bind_thread()
    name = threading.current_thread().name
    log.error("thread strayed thread=%s device=%s found=%s", name, device.name, found)
    raise ServeError(
        f"the engine's thread {name} was bound to {found}, not to {device.name}; "
        "nothing was computed"
    )
