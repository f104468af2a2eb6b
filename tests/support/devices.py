"""A device that remembers which threads were bound to it, and checks who runs a model."""

import threading
from collections.abc import Callable
from typing import Any

from torch import nn

from danlu.adapters.devices.device import NOWHERE
from danlu.adapters.devices.fault import Fault


class FakeDevice:
    """The host, as a card would be: only bound threads may use it."""

    name = "cpu"

    def __init__(
        self, *, broken: bool = False, bfloat16: bool = True, like_a_card: bool = False
    ) -> None:
        self.bfloat16 = bfloat16
        self.fixed_shapes = self.asynchronous = like_a_card
        self.bound: list[int] = []  # a thread's number each time it is bound
        self.users: set[int] = set()  # the threads that ran a watched model
        self.released = 0
        self.on_release: Callable[[], object] = lambda: None
        self._broken = broken

    def bind_thread(self) -> None:
        if self._broken:
            raise RuntimeError("error code is 507033")
        self.bound.append(threading.get_ident())

    def where(self) -> str:
        return self.name if threading.get_ident() in self.bound else NOWHERE

    def share(self, running: int) -> None:
        """The host's threads stay as they are."""

    def free_memory(self) -> int:
        return 0

    def release_memory(self) -> None:
        self.released += 1
        self.on_release()

    def fault(self, exc: BaseException) -> Fault | None:
        if "out of memory" in str(exc):
            return Fault.OUT_OF_MEMORY
        return Fault.LOST if "507899" in str(exc) else None

    def watch(self, model: nn.Module) -> Any:
        """Note every thread that runs `model`; `.remove()` ends it."""

        def note(*_: object) -> None:
            self.users.add(threading.get_ident())

        return model.register_forward_pre_hook(note)
