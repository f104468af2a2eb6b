"""Devices by name, and what each does with a thread."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu.adapters.devices.cpu import CPU
from danlu.adapters.devices.cuda import CUDA
from danlu.adapters.devices.device import NOWHERE, Device, device_named, present
from danlu.adapters.devices.fault import Fault
from danlu.adapters.devices.npu import NPU, NPUs
from danlu.adapters.errors import StartError

FULL, LOST = Fault.OUT_OF_MEMORY, Fault.LOST


class FakeNPU:
    """torch.npu's part that is used, and CANN's; `calls` are (thread, what, card)."""

    def __init__(self, card: int = -1) -> None:
        self.calls: list[tuple[int, str, int]] = []
        self.jit = True
        self._card = card

    def take(self, card: int) -> None:
        self.calls.append((threading.get_ident(), "take", card))

    def bound_card(self) -> int:
        return self._card

    def set_device(self, index: int) -> None:
        self.calls.append((threading.get_ident(), "set_device", index))

    def is_jit_compile_false(self) -> bool:
        return not self.jit

    def set_compile_mode(self, jit_compile: bool) -> None:
        self.jit = jit_compile

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


def test_an_npu_binds_the_calling_thread_to_its_own_card_and_asks_the_driver_first() -> None:
    npu = FakeNPU()
    device = NPU(npu, 3, npu)
    device.bind_thread()
    here = threading.get_ident()
    assert device.name == "npu:3"
    assert npu.calls == [(here, "take", 3), (here, "set_device", 3)]
    assert device.free_memory() == 10
    assert not npu.jit


@pytest.mark.parametrize(("card", "name"), [(3, "npu:3"), (0, "npu:0"), (-1, NOWHERE)])
def test_an_npu_knows_where_a_thread_is(card: int, name: str) -> None:
    assert NPU(FakeNPU(), 3, FakeNPU(card)).where() == name


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; ...)"), FULL),
        (RuntimeError("NPU function error: aclrtMalloc, error code is 207001"), FULL),
        (torch.OutOfMemoryError("NPU out of memory."), FULL),
        (RuntimeError("rtStreamSynchronize execute failed\n error code is 507899"), LOST),
        (RuntimeError("[ERROR] error code is 507015"), LOST),
        (RuntimeError("HBM MULTI BIT ECC ERROR happened on device 0"), LOST),
        (RuntimeError("error code is 107002"), None),
        (RuntimeError("endCaptureErr, error code is 507903"), None),
        (ValueError("NPU out of memory"), None),
        (ValueError("error code is 507899"), None),
    ],
)
def test_an_npus_faults_are_known_by_class_or_by_words(
    exc: Exception, expected: Fault | None
) -> None:
    assert NPU(FakeNPU(), 0, FakeNPU()).fault(exc) is expected


class RecordingNPU(FakeNPU):
    """One whose torch_npu has graphs, on a chip with bfloat16 or without."""

    NPUGraph = object

    def __init__(self, bfloat16: bool) -> None:
        super().__init__()
        self._bfloat16 = bfloat16

    def is_bf16_supported(self) -> bool:
        return self._bfloat16

    def graph_pool_handle(self) -> tuple[int, int]:
        return 0, 1

    def Stream(self) -> str:
        return "side"


def test_an_npu_records_where_its_library_and_its_chip_do() -> None:
    new, old, without = RecordingNPU(True), RecordingNPU(False), FakeNPU()
    assert NPU(new, 0, new).recorder() is not None
    assert NPU(old, 0, old).recorder() is None
    assert NPU(without, 0, without).recorder() is None


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


def test_a_cuda_card_knows_its_name_and_its_own_errors() -> None:
    device = CUDA(1)
    assert device.name == "cuda:1"
    assert device.fault(torch.OutOfMemoryError("CUDA out of memory")) is FULL
    assert device.fault(RuntimeError("CUDA error: out of memory")) is FULL
    assert device.fault(RuntimeError("CUDA error: device-side assert triggered")) is LOST
    assert device.fault(RuntimeError("CUDA error")) is None


def test_the_host_has_memory_and_knows_when_it_has_not() -> None:
    device: Device = CPU()
    assert device.free_memory() > 0
    words = "DefaultCPUAllocator: can't allocate memory: you tried; not enough memory"
    assert device.fault(RuntimeError(words)) is FULL
    assert device.fault(RuntimeError("shapes differ")) is None
    assert device.where() == device.name


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


def test_the_host_records_nothing() -> None:
    device: Device = CPU()
    assert device.recorder() is None


def test_requests_share_the_hosts_cores() -> None:
    device = CPU(cores=4, fixed=False)
    assert [_threads_for(device, running) for running in (1, 2, 3, 9)] == [4, 2, 1, 1]


def test_a_number_of_threads_that_the_user_chose_is_left_alone() -> None:
    chosen = CPU(cores=8, fixed=True)
    assert len({_threads_for(chosen, running) for running in (1, 2, 9)}) == 1
