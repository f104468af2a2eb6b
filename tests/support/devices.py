"""The tests' device, that remembers which threads were bound to it and knows who runs a model."""

import threading
from collections.abc import Callable
from typing import Any

from torch import nn

from danlu.adapters.devices.device import NOWHERE, device_named
from danlu.adapters.devices.fault import Fault

from .card import card


class FakeDevice:
    """Only bound threads may use it, the host too; its faults are told by words."""

    def __init__(
        self,
        *,
        broken: bool = False,
        bfloat16: bool = True,
        like_a_card: bool = False,
        free: int = 0,
    ) -> None:
        self.name = card()
        self.bfloat16 = bfloat16
        self.fixed_shapes = self.asynchronous = like_a_card
        self.bound: list[int] = []  # a thread's number each time it is bound
        self.users: set[int] = set()  # the threads that ran a watched model
        self.released = 0
        self.on_release: Callable[[], object] = lambda: None
        self._real = device_named(self.name)
        self._broken, self._free = broken, free

    def bind_thread(self) -> None:
        if self._broken:
            raise RuntimeError("error code is 507033")
        self._real.bind_thread()
        self.bound.append(threading.get_ident())

    def where(self) -> str:
        return self._real.where() if threading.get_ident() in self.bound else NOWHERE

    def share(self, running: int) -> None:
        """The host's threads stay as they are."""

    def free_memory(self) -> int:
        return self._free

    def release_memory(self) -> None:
        self._real.release_memory()
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
