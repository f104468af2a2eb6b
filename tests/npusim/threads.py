"""Tells the ledger which threads are Python's, and when one of them binds itself to a card.

The driver cannot see that: torch_npu's own guards bind threads with the same call as a program
that chose its card. So the public ways to choose one, `torch.npu.set_device` and `with
torch.npu.device`, are wrapped. torch's and torch_npu's native threads bind themselves and are none
of Python's.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

cann = ctypes.CDLL("libascendcl.so")  # the fake one, in memory since boot


def mark_all() -> None:
    """This thread, which is the main one, and every one that threading starts from now on."""
    thread: Any = threading.Thread
    begin = thread._bootstrap_inner

    def begin_marked(self: threading.Thread) -> None:
        cann.npusim_python_thread(self.name.encode())
        begin(self)

    thread._bootstrap_inner = begin_marked
    cann.npusim_python_thread(threading.current_thread().name.encode())


def watch() -> None:
    """Note when a thread chooses a card, now that torch.npu is there."""
    import torch

    npu: Any = torch.npu  # type: ignore[attr-defined]
    npu.set_device = npu.utils.set_device = _choosing(npu.set_device)
    npu.device = _watched(npu.device)


def _choosing(set_device: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(set_device)
    def chosen(*args: Any, **kwargs: Any) -> None:
        before = cann.npusim_choose(1)
        try:
            set_device(*args, **kwargs)
        except BaseException:
            cann.npusim_choose(before)
            raise
        cann.npusim_pinned()

    return chosen


def _watched(device: Any) -> Any:
    class Watched(device):  # type: ignore[misc]
        """torch_npu writes `with device(None)` inside its own functions: that chooses nothing."""

        def __init__(self, which: Any) -> None:
            super().__init__(which)
            self._chooses = which is not None

        def __enter__(self) -> Any:
            if self._chooses:
                self._before = cann.npusim_choose(1)
                cann.npusim_pinned()
            return super().__enter__()

        def __exit__(self, *exc: Any) -> Any:
            try:
                return super().__exit__(*exc)
            finally:
                if self._chooses:
                    cann.npusim_choose(self._before)

    return Watched
