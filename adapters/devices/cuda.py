"""NVIDIA cards (and AMD's under ROCm, which answers to the same name)."""

import torch

from .device import Device


class CUDA:
    def __init__(self, index: int) -> None:
        self.name = f"cuda:{index}"
        self._index = index

    def bind_thread(self) -> None:
        torch.cuda.set_device(self._index)

    def share(self, running: int) -> None:
        """Streams of one card are scheduled by the card."""

    def free_memory(self) -> int:
        free, _ = torch.cuda.mem_get_info(self._index)
        return free

    def release_memory(self) -> None:
        torch.cuda.empty_cache()

    def is_out_of_memory(self, exc: BaseException) -> bool:
        return isinstance(exc, torch.OutOfMemoryError)


class CUDAs:
    def count(self) -> int:
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def why_none(self) -> str:
        if torch.version.cuda is None:
            return f"torch {torch.__version__} is built without CUDA"
        return "torch finds no CUDA card"

    def open(self, index: int) -> Device:
        return CUDA(index)
