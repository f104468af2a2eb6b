"""The host's processor."""

import os
from pathlib import Path

import torch

from .device import Device
from .fault import Fault

MEMINFO = Path("/proc/meminfo")
KIB = 2**10


class CPU:
    """Threads need no context here; what they compete for is cores.

    A thread of OpenMP's that waits for a core held by another team spins on it, so two requests
    with two threads each on two cores are several times slower than with one thread each.
    OMP_NUM_THREADS is the user's word and is left alone.
    """

    name = "cpu"
    bfloat16 = True
    fixed_shapes = asynchronous = False

    def __init__(self, cores: int = 0, fixed: bool | None = None) -> None:
        self._cores = cores or torch.get_num_threads()
        self._fixed = "OMP_NUM_THREADS" in os.environ if fixed is None else fixed

    def bind_thread(self) -> None:
        """A thread of the host is bound to the host."""

    def where(self) -> str:
        return self.name

    def share(self, running: int) -> None:
        threads = max(1, self._cores // max(1, running))
        if not self._fixed and torch.get_num_threads() != threads:  # the calling thread's number
            torch.set_num_threads(threads)

    def free_memory(self) -> int:
        """What programs can get, not what lies idle: files that the system keeps give way."""
        try:
            told = MEMINFO.read_text()
        except OSError:  # macOS
            return 0
        (available,) = (line for line in told.splitlines() if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * KIB

    def release_memory(self) -> None:
        """torch's CPU allocator keeps nothing."""

    def recorder(self) -> None:
        """A launch costs next to nothing here."""

    def fault(self, exc: BaseException) -> Fault | None:
        full = isinstance(exc, MemoryError | torch.OutOfMemoryError) or (
            isinstance(exc, RuntimeError) and "not enough memory" in str(exc)
        )
        return Fault.OUT_OF_MEMORY if full else None


class CPUs:
    """There is one, always."""

    def count(self) -> int:
        return 1

    def why_none(self) -> str:
        return "it always is"

    def open(self, index: int) -> Device:
        return CPU()
