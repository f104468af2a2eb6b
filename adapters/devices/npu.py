"""Ascend NPUs, by way of torch_npu, which is imported here only.

A thread's context is set by `set_device` and by nothing else. A thread without one fails with
error 107002 on torch_npu up to 5.0.1; later versions put it on card 0 without a word.
"""

from importlib import import_module
from typing import Any

import torch

from ..errors import StartError
from .device import Device
from .static_tls import said_by, starved

# torch_npu raises a plain RuntimeError up to 7.3, so the words decide; 207001 is ACL's "no memory".
OUT_OF_MEMORY = ("NPU out of memory", "error code is 207001")


class NPU:
    """`npu` is the module torch.npu."""

    def __init__(self, npu: Any, index: int) -> None:
        self.name = f"npu:{index}"
        self._npu = npu
        self._index = index

    def bind_thread(self) -> None:
        self._npu.set_device(self._index)

    def share(self, running: int) -> None:
        """Streams of one card are scheduled by the card."""

    def free_memory(self) -> int:
        free, _ = self._npu.mem_get_info(self._index)
        return int(free)

    def release_memory(self) -> None:
        self._npu.empty_cache()

    def is_out_of_memory(self, exc: BaseException) -> bool:
        return isinstance(exc, torch.OutOfMemoryError) or (
            isinstance(exc, RuntimeError) and any(words in str(exc) for words in OUT_OF_MEMORY)
        )


class NPUs:
    """`module` is torch_npu's name; another one stands in for it in tests."""

    def __init__(self, module: str = "torch_npu") -> None:
        self._why = "torch_npu finds no card; does npu-smi info show one?"
        try:
            self._npu = import_module(module).npu
        except ModuleNotFoundError:
            self._npu, self._why = None, f"{module} is not installed"
        except (ImportError, RuntimeError, OSError) as exc:  # installed, but CANN is missing
            self._npu = None
            self._why = f"{module} cannot be imported ({exc}); is CANN's set_env.sh sourced?"
            if any(map(starved, said_by(exc))):  # to be cured, not to be done without
                raise StartError(f"{module} cannot be imported: {exc}") from exc

    def count(self) -> int:
        if self._npu is None or not self._npu.is_available():
            return 0
        return int(self._npu.device_count())

    def why_none(self) -> str:
        return self._why

    def open(self, index: int) -> Device:
        assert self._npu is not None
        return NPU(self._npu, index)
