"""NVIDIA cards (and AMD's under ROCm, which answers to the same name)."""

import torch

from .device import Device, Recorder
from .fault import Fault
from .graphs import GraphRecorder

OUT_OF_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
# After these CUDA's manual asks for a new process: nothing works any more in this one.
LOST = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "device-side assert triggered",
    "hardware stack error",
    "misaligned address",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "unspecified launch failure",
)


class CUDA:
    fixed_shapes = asynchronous = True

    def __init__(self, index: int) -> None:
        self.name = f"cuda:{index}"
        self._index = index

    @property
    def bfloat16(self) -> bool:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))

    def bind_thread(self) -> None:
        torch.cuda.set_device(self._index)

    def where(self) -> str:
        return f"cuda:{torch.cuda.current_device()}"  # card 0 is where a thread begins

    def share(self, running: int) -> None:
        """Streams of one card are scheduled by the card."""

    def free_memory(self) -> int:
        free, _ = torch.cuda.mem_get_info(self._index)
        return free

    def release_memory(self) -> None:
        torch.cuda.empty_cache()

    def recorder(self) -> Recorder:
        return GraphRecorder(torch.cuda, torch.cuda.CUDAGraph)

    def fault(self, exc: BaseException) -> Fault | None:
        said = str(exc) if isinstance(exc, RuntimeError) else ""
        if isinstance(exc, torch.OutOfMemoryError) or any(words in said for words in OUT_OF_MEMORY):
            return Fault.OUT_OF_MEMORY
        lost = "CUDA error" in said and any(words in said for words in LOST)
        return Fault.LOST if lost else None


class CUDAs:
    def count(self) -> int:
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def why_none(self) -> str:
        if torch.version.cuda is None:
            return f"torch {torch.__version__} is built without CUDA"
        return "torch finds no CUDA card"

    def open(self, index: int) -> Device:
        return CUDA(index)
