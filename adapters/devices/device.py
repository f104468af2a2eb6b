"""What the worker asks of a device, and which one a name means. Knows no vendor's library."""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from ..errors import StartError
from .fault import Fault

log = logging.getLogger(__name__)


Replay = Callable[[], None]


class Recorder(Protocol):
    """Notes work once, so that all of it can be done again by one call."""

    def record(self, work: Callable[[], None]) -> Replay:
        """Call `work` once and note what it gives the device to do. That is done by each call of
        what is returned, not before: by the same kernels on the same memory, with the numbers that
        lie there then. What `work` allocates holds nothing from one replay to the next, of whatever
        recording of this recorder.

        Raises what the device's library raises where something cannot be noted: a copy from or to
        the host, or a wait for the device. The device then works on as before.
        """
        ...


class Device(Protocol):
    """One card, or the host's processor. `name` is torch's word for it: "cpu", "npu:1"."""

    name: str
    fixed_shapes: bool  # whether a shape costs when it comes up first, so that few ones are better
    asynchronous: bool  # whether it works on its own while the host goes on

    @property
    def bfloat16(self) -> bool:
        """Whether it computes with bfloat16; asked on a thread that is bound to it."""
        ...

    def bind_thread(self) -> None:
        """Give the calling thread its device context; once, before it touches the device."""
        ...

    def where(self) -> str:
        """The name of the device that the calling thread is bound to, NOWHERE if to none.

        Looks, and changes nothing: no context comes into being.
        """
        ...

    def share(self, running: int) -> None:
        """Take one part in `running` of what threads compete for; called before every step."""
        ...

    def free_memory(self) -> int:
        """Bytes that can still be allocated."""
        ...

    def release_memory(self) -> None:
        """Give back what the allocator keeps for later."""
        ...

    def recorder(self) -> Recorder | None:
        """One for work of the calling thread, which is bound to the device; None where the device
        or its library records nothing."""
        ...

    def fault(self, exc: BaseException) -> Fault | None:
        """What `exc` says about the device; None if it says nothing."""
        ...


class Kind(Protocol):
    """A kind of device: how many there are, and one of them."""

    def count(self) -> int:
        """How many can be used here; 0 where the library is missing or finds nothing."""
        ...

    def why_none(self) -> str:
        """What keeps `count` at 0, as half a sentence."""
        ...

    def open(self, index: int) -> Device: ...


KINDS = {  # in the order in which `auto` looks; only what is asked for is imported
    "npu": (".npu", "NPUs"),
    "cuda": (".cuda", "CUDAs"),
    "cpu": (".cpu", "CPUs"),
}
NOWHERE = "no device"
FIRST = 0  # a kind without a number is its first visible card


def device_named(name: str) -> Device:
    """The device for "auto", "cpu", "cuda", "npu" or one card such as "npu:1".

    Raises StartError for a name that means nothing, or a card that is not there.
    """
    if name == "auto":
        return _best()
    kind, colon, number = name.partition(":")
    if kind not in KINDS or (colon and (kind == "cpu" or not number.isdecimal())):
        raise StartError(
            f"--device {name!r} is unknown; one of auto, cpu, cuda, npu, or a card such as npu:1"
        )
    return _opened(kind, int(number) if colon else FIRST)


def present() -> list[str]:
    """The names of all devices that can be used here."""
    names = []
    for name in KINDS:
        count = _kind(name).count()
        names += [name] if name == "cpu" else [f"{name}:{i}" for i in range(count)]
    return names


def _best() -> Device:
    for name in KINDS:
        if _kind(name).count():
            log.info("device chosen device=%s", name)
            return _opened(name, FIRST)
    raise AssertionError("the host has a processor")


def _opened(name: str, index: int) -> Device:
    kind = _kind(name)
    count = kind.count()
    if index < count:
        return kind.open(index)
    asked = f"{name}:{index}" if count else name
    why = f"there are only {count}" if count else kind.why_none()
    raise StartError(f"--device {asked} is not here: {why}; this machine has {_listed(present())}")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _kind(name: str) -> Kind:
    module, cls = KINDS[name]
    kind: Kind = getattr(import_module(module, __package__), cls)()
    return kind
