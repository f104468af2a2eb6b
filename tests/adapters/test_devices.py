"""Devices by name, and what each does with a thread."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu.adapters.devices.cpu import CPU
from danlu.adapters.devices.cuda import CUDA
from danlu.adapters.devices.device import device_named, present
from danlu.adapters.devices.npu import NPU, NPUs
from danlu.adapters.errors import StartError


class FakeNPU:
    """torch.npu's part that is used; `calls` are (thread, card)."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def set_device(self, index: int) -> None:
        self.calls.append((threading.get_ident(), index))

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return 7 + index, 100


def test_the_host_is_a_device() -> None:
    assert device_named("cpu").name == "cpu"
    assert present()[-1] == "cpu"


def test_auto_is_the_best_that_is_here() -> None:
    assert device_named("auto").name == present()[0]


@pytest.mark.parametrize("name", ["tpu", "", "cpu:0", "npu:", "npu:x", "cuda:-1", "NPU"])
def test_a_name_that_means_nothing_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(StartError, match="is unknown; one of auto, cpu, cuda, npu"):
        device_named(name)


@pytest.mark.parametrize("name", ["cuda", "npu", "cuda:77", "npu:77"])
def test_a_card_that_is_not_here_is_refused_with_those_that_are(name: str) -> None:
    kind = name.partition(":")[0]
    if name == kind and any(here.startswith(kind) for here in present()):
        pytest.skip(f"this machine has a {kind} card")
    with pytest.raises(StartError, match=r"is not here: .*; this machine has .*cpu"):
        device_named(name)


def test_an_npu_binds_the_calling_thread_to_its_own_card() -> None:
    npu = FakeNPU()
    device = NPU(npu, 3)
    device.bind_thread()
    assert (device.name, npu.calls) == ("npu:3", [(threading.get_ident(), 3)])
    assert device.free_memory() == 10


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; ...)"), True),
        (RuntimeError("NPU function error: aclrtMalloc, error code is 207001"), True),
        (torch.OutOfMemoryError("NPU out of memory."), True),
        (RuntimeError("error code is 107002"), False),
        (ValueError("NPU out of memory"), False),
    ],
)
def test_running_out_of_an_npus_memory_is_known_by_class_or_by_words(
    exc: Exception, expected: bool
) -> None:
    assert NPU(FakeNPU(), 0).is_out_of_memory(exc) is expected


def test_an_npu_without_its_library_says_what_is_missing() -> None:
    kind = NPUs("no_such_torch_npu")
    assert kind.count() == 0
    assert kind.why_none() == "no_such_torch_npu is not installed"


def test_a_library_that_cannot_be_imported_says_why(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch_npu_without_cann.py").write_text(
        "raise ImportError('libhccl.so: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = NPUs("torch_npu_without_cann")
    assert kind.count() == 0
    assert "libhccl.so" in kind.why_none()
    assert "set_env.sh" in kind.why_none()


def test_a_cuda_card_knows_its_name_and_its_own_error() -> None:
    device = CUDA(1)
    assert device.name == "cuda:1"
    assert device.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not device.is_out_of_memory(RuntimeError("CUDA error"))


def test_the_host_has_memory_and_knows_when_it_has_not() -> None:
    device = CPU()
    assert device.free_memory() > 0
    words = "DefaultCPUAllocator: can't allocate memory: you tried; not enough memory"
    assert device.is_out_of_memory(RuntimeError(words))
    assert not device.is_out_of_memory(RuntimeError("shapes differ"))


def _threads_for(device: CPU, running: int) -> int:
    """What a thread of its own computes with, so that this one's number stays as it is."""
    seen = SimpleNamespace(threads=0)

    def look() -> None:
        device.share(running)
        seen.threads = torch.get_num_threads()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return int(seen.threads)


def test_requests_share_the_hosts_cores() -> None:
    device = CPU(cores=4, fixed=False)
    assert [_threads_for(device, running) for running in (1, 2, 3, 9)] == [4, 2, 1, 1]


def test_a_number_of_threads_that_the_user_chose_is_left_alone() -> None:
    chosen = CPU(cores=8, fixed=True)
    assert len({_threads_for(chosen, running) for running in (1, 2, 9)}) == 1
