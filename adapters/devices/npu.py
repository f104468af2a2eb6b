"""Ascend NPUs, by way of torch_npu, which is imported here only.

A thread's context is set by `set_device` and by nothing else. A thread without one fails with
error 107002 on torch_npu up to 5.0.1; later versions put it on card 0 without a word.
"""

import ctypes
import re
from importlib import import_module
from typing import Any, Protocol

import torch

from ..errors import StartError
from .device import NOWHERE, Device, Recorder
from .fault import Fault
from .graphs import GraphRecorder
from .static_tls import said_by, starved

# torch_npu raises a plain RuntimeError up to 7.3, so the words decide; 207001 is ACL's "no memory".
OUT_OF_MEMORY = re.compile(r"NPU out of memory|error code is 207001")
# ACL numbers the failures of the card itself 507xxx (507899: the driver's, 507015: a core's; 507903
# is the end of a recording that had failed); the words are torch_npu's for hardware that reports
# memory or links as broken.
LOST = re.compile(
    r"error code is (507(?!903)\d{3}|207004)|FORCE STOP|HBM MULTI BIT ECC ERROR|SUSPECT MEM ERROR"
    r"|HCCS LINK ERROR|UCE ERROR|SUSPECT REMOTE ERROR"
)


class Driver(Protocol):
    def take(self, card: int) -> None:
        """Bind the calling thread to `card`, if that can be done."""
        ...

    def bound_card(self) -> int:
        """The card that the calling thread is bound to, -1 for none."""
        ...


class NPU:
    """`npu` is the module torch.npu; `driver` knows each thread's card."""

    fixed_shapes = asynchronous = True

    def __init__(self, npu: Any, index: int, driver: Driver) -> None:
        self.name = f"npu:{index}"
        self._npu = npu
        self._index = index
        self._driver = driver

    @property
    def bfloat16(self) -> bool:
        return bool(self._npu.is_bf16_supported())  # not by 310P and 910A

    def bind_thread(self) -> None:
        """The driver comes first: below CANN 8.3 torch_npu begins on the card that it finds the
        thread on, and on card 0 where it finds none, whose memory that costs for good.

        Also, before any operator runs, ends what is the default of 310P and 910A: compiling each
        operator for each new shape, which are new at each token of an answer.
        """
        self._driver.take(self._index)
        self._npu.set_device(self._index)
        if not self._npu.is_jit_compile_false():
            self._npu.set_compile_mode(jit_compile=False)

    def where(self) -> str:
        card = self._driver.bound_card()
        return NOWHERE if card < 0 else f"npu:{card}"

    def share(self, running: int) -> None:
        """Streams of one card are scheduled by the card."""

    def free_memory(self) -> int:
        free, _ = self._npu.mem_get_info(self._index)
        return int(free)

    def release_memory(self) -> None:
        self._npu.empty_cache()

    def recorder(self) -> Recorder | None:
        """Older versions of torch_npu have no graphs, and CANN records on A2 and later only, which
        are those that compute with bfloat16."""
        if not hasattr(self._npu, "NPUGraph") or not self.bfloat16:
            return None
        return GraphRecorder(self._npu, self._npu.NPUGraph)

    def fault(self, exc: BaseException) -> Fault | None:
        said = str(exc) if isinstance(exc, RuntimeError) else ""
        if isinstance(exc, torch.OutOfMemoryError) or OUT_OF_MEMORY.search(said):
            return Fault.OUT_OF_MEMORY
        return Fault.LOST if LOST.search(said) else None


class NPUs:
    """`module` is torch_npu's name; another one stands in for it in tests."""

    def __init__(self, module: str = "torch_npu") -> None:
        self._torch_npu: Any = None
        self._why = "torch_npu finds no card; does npu-smi info show one?"
        try:
            self._torch_npu = import_module(module)
        except ModuleNotFoundError:
            self._why = f"{module} is not installed"
        except (ImportError, RuntimeError, OSError) as exc:  # installed, but CANN is missing
            self._why = f"{module} cannot be imported ({exc}); is CANN's set_env.sh sourced?"
            if any(map(starved, said_by(exc))):  # to be cured, not to be done without
                raise StartError(f"{module} cannot be imported: {exc}") from exc

    def count(self) -> int:
        if self._torch_npu is None or not self._torch_npu.npu.is_available():
            return 0
        return int(self._torch_npu.npu.device_count())

    def why_none(self) -> str:
        return self._why

    def open(self, index: int) -> Device:
        assert self._torch_npu is not None
        return NPU(self._torch_npu.npu, index, ACL(self._torch_npu))


class ACL:
    """CANN's own library, asked beside torch_npu for what that one does not tell."""

    def __init__(self, torch_npu: Any) -> None:
        self._acl = ctypes.CDLL("libascendcl.so")  # in memory already, since torch_npu is
        self._remembered = getattr(torch_npu._C, "_npu_getLocalDevice", None)

    def take(self, card: int) -> None:
        """Where that fails torch_npu's own binding does, which says why."""
        self._acl.aclrtSetDevice(card)

    def bound_card(self) -> int:
        """The driver knows, and torch_npu remembers; `torch.npu.current_device()` would say 0 for a
        thread that was never bound. What is remembered outlives a context that somebody took away,
        and the driver of CANN 8.3 names its default card to a thread that has none: so both are
        asked, and a thread is bound where they agree. Versions that remember nothing per thread
        leave the driver.
        """
        card = ctypes.c_int32()
        if self._acl.aclrtGetDevice(ctypes.byref(card)):
            return -1
        agreed = self._remembered is None or self._remembered() == card.value
        return card.value if agreed else -1
