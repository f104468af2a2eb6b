"""A device that remembers which threads were bound to it, and checks who runs a model."""

import threading
from collections.abc import Callable
from typing import Any

from torch import nn


class FakeDevice:
    """The host, as a card would be: only bound threads may use it."""

    name = "cpu"

    def __init__(self, *, broken: bool = False) -> None:
        self.bound: list[int] = []  # a thread's number each time it is bound
        self.users: set[int] = set()  # the threads that ran a watched model
        self.released = 0
        self.on_release: Callable[[], object] = lambda: None
        self._broken = broken

    def bind_thread(self) -> None:
        if self._broken:
            raise RuntimeError("error code is 507033")
        self.bound.append(threading.get_ident())

    def share(self, running: int) -> None:
        """The host's threads stay as they are."""

    def free_memory(self) -> int:
        return 0

    def release_memory(self) -> None:
        self.released += 1
        self.on_release()

    def is_out_of_memory(self, exc: BaseException) -> bool:
        return "out of memory" in str(exc)

    def watch(self, model: nn.Module) -> Any:
        """Note every thread that runs `model`; `.remove()` ends it."""

        def note(*_: object) -> None:
            self.users.add(threading.get_ident())

        return model.register_forward_pre_hook(note)
