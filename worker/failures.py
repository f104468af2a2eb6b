"""What an exception under an engine means for those who asked. Knows no queue and no model."""

import contextlib
import logging
import threading
from concurrent.futures import Future, InvalidStateError
from typing import Any

from ..adapters.devices.device import Device
from ..adapters.devices.explain import meaning_of
from ..adapters.devices.fault import Fault
from ..adapters.errors import DeviceLost, NotReady, OutOfMemory, ServeError
from ..adapters.wire.discretion import discreet
from .weights import lost

log = logging.getLogger(__name__)


class Failures:
    """`lost` is done once the device is; everything that fails after that failed of it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._finding_out = threading.Lock()  # guards what says that the first has found out
        self._found_out = False
        self.lost: Future[None] = Future()

    def explained(self, exc: BaseException) -> ServeError:
        """What to tell the reader; a lost device is noted, an unknown failure logged whole."""
        if isinstance(exc, ServeError) and not isinstance(exc, DeviceLost):
            return bare(exc)
        fault = self._device.fault(exc)
        if fault is Fault.LOST or isinstance(exc, DeviceLost) or self.lost.done():
            return self.lose(exc)
        if fault is Fault.OUT_OF_MEMORY:
            log.warning("out of memory device=%s: %s", self._device.name, str(exc))
            return OutOfMemory(
                f"{self._device.name} is out of memory; ask for fewer tokens, or try again later"
            )
        log.error("request failed%s", meaning_of(exc), exc_info=exc)
        return failure(exc)

    def lose(self, exc: BaseException) -> DeviceLost:
        """Nothing can be computed any more; whoever watches `lost` ends the worker."""
        with self._finding_out:
            first, self._found_out = not self._found_out, True
        if first:
            log.error("device lost device=%s: %s", self._device.name, str(exc))
            self.lost.set_result(None)
        return lost(self._device)


def bare(error: ServeError) -> ServeError:
    """`error` without the frames that it came through. They hold the request's tensors, which would
    be freed by whoever lets go of it last, on a thread that has no device."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def failure(exc: BaseException) -> ServeError:
    """What is said of a failure that nothing is known about; the log has all of it."""
    return ServeError(
        f"the engine failed: {type(exc).__name__}: {discreet(str(exc))}{meaning_of(exc)}"
    )


def fail(promise: "Future[Any]", error: ServeError) -> None:
    """Break a promise, unless it was kept, broken or given up already."""
    with contextlib.suppress(InvalidStateError):
        promise.set_exception(error)


def check_wanted(promise: "Future[Any]") -> None:
    """Raises NotReady, which nobody reads, where the promise was given up."""
    if promise.cancelled():
        raise NotReady("nobody waits for these vectors any more")
