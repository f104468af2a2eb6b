"""The simulated machine itself: it computes, and it fails as a real one does."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from npusim.machine import State
from support.tiny import tiny_model

npu = torch.npu  # type: ignore[attr-defined]

CARDS = pytest.mark.parametrize("card", ["npu:0", "npu:1"])
NO_CONTEXT = "error code is 107002"


def on_a_thread(work: Callable[[], object]) -> str:
    """What `work` returns or raises on a thread that was never bound, as words."""
    told = []

    def run() -> None:
        try:
            told.append(str(work()))
        except RuntimeError as exc:
            told.append(str(exc))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return told[0]


@CARDS
def test_a_card_computes_what_the_host_computes(card: str, machine: State) -> None:
    npu.set_device(card)
    x = torch.linspace(-2, 2, 12).view(3, 4)
    there = x.to(card)
    assert (torch.ones(2, device=card) + 1).device == torch.device(card)
    assert torch.equal((there @ there.T).softmax(-1).cpu(), (x @ x.T).softmax(-1))
    assert there.sort(descending=True).indices.tolist() == x.sort(descending=True).indices.tolist()
    for place in (x, there):
        place[1:, ::2] = 7
    assert torch.equal(there.cpu(), x)


@CARDS
def test_a_model_on_a_card_says_what_it_says_on_the_host(card: str, machine: State) -> None:
    npu.set_device(card)
    ids = torch.arange(5, 20)[None]
    model = tiny_model()
    wanted = model.generate(ids, max_new_tokens=12, do_sample=False)  # type: ignore[operator]
    try:
        model.to(card)  # type: ignore[arg-type]
        found = model.generate(ids.to(card), max_new_tokens=12, do_sample=False)  # type: ignore[operator]
    finally:
        model.to("cpu")  # type: ignore[arg-type]
    assert torch.equal(found.cpu(), wanted)


def test_tensors_of_two_places_are_refused(machine: State) -> None:
    npu.set_device(0)
    with pytest.raises(RuntimeError, match="npu:0 and npu:1"):
        torch.ones(2, device="npu:0") + torch.ones(2, device="npu:1")
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(2, device="npu:0") + torch.ones(2)


def test_strict_a_thread_that_was_never_bound_has_no_context(machine: State) -> None:
    npu.set_device(0)
    x = torch.ones(4, device="npu:0")
    assert NO_CONTEXT in on_a_thread(lambda: x + 1)
    assert NO_CONTEXT in on_a_thread(lambda: torch.ones(2).to("npu:0"))
    assert NO_CONTEXT in on_a_thread(npu.mem_get_info)
    assert machine.users()[-1].astray > 0


def test_faithful_a_thread_that_was_never_bound_is_left_on_card_0(machine: State) -> None:
    """As torch_npu >= 6 does it, without a word."""
    npu.set_device(1)
    x = torch.ones(4, device="npu:1")
    machine.strict = 0
    assert on_a_thread(lambda: (x + 1).sum().item()) == "8.0"
    assert on_a_thread(lambda: torch.empty(1, device="npu").device) == "npu:0"
    assert machine.users()[-1].pinned == 0


def test_memory_runs_out_in_torch_npus_own_allocator(machine: State) -> None:
    npu.set_device(0)
    npu.empty_cache()
    machine.card[0].capacity = machine.card[0].used + (1 << 20)
    with pytest.raises(torch.OutOfMemoryError, match="NPU out of memory. Tried to allocate"):
        torch.empty(1 << 26, dtype=torch.uint8, device="npu:0")
    machine.card[0].capacity = 64 << 30
    npu.empty_cache()
    machine.card[0].refuse(times=3)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(1 << 26, dtype=torch.uint8, device="npu:0")


def test_a_lost_card_fails_every_call_and_the_other_one_lives(machine: State) -> None:
    npu.set_device(0)
    x = torch.ones(4, device="npu:0")
    machine.card[0].lose(after=1)
    x = x + 1
    with pytest.raises(RuntimeError, match="error code is 507899"):
        x + 1
    with pytest.raises(RuntimeError, match="error code is 507899"):
        npu.synchronize()
    with npu.device(1):
        assert (torch.ones(1, device="npu:1") + 1).item() == 2


def test_an_operator_is_compiled_once_for_each_shape(machine: State) -> None:
    npu.set_device(0)
    machine.jit = 1
    counts = []
    for size in (5, 5, 6):
        torch.zeros(size, device="npu:0").exp()
        counts.append(machine.compiles)
    assert 0 < counts[0] == counts[1] < counts[2]


def test_a_card_without_bfloat16_refuses_it(machine: State) -> None:
    npu.set_device(0)
    x = torch.ones(2, dtype=torch.bfloat16, device="npu:0")
    assert (x + x).tolist() == [2, 2]
    machine.bfloat16 = 0
    try:
        with pytest.raises(RuntimeError, match="not implemented for DT_BFLOAT16"):
            x + x
    finally:
        machine.bfloat16 = 1


def test_random_numbers_follow_the_cards_generator(machine: State) -> None:
    npu.set_device(1)
    generator = torch.Generator("npu:1").manual_seed(3)
    first = torch.rand(3, generator=generator, device="npu:1")
    second = torch.rand(3, generator=generator, device="npu:1")
    generator.manual_seed(3)
    assert torch.equal(torch.rand(3, generator=generator, device="npu:1"), first)
    assert not torch.equal(first, second)


def test_visible_devices_are_numbered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    code = (
        "import torch; from npusim.machine import here; torch.npu.set_device(0);"
        "torch.ones(9, device='npu:0'); s = here();"
        "print(torch.npu.device_count(), s.card[0].peak, s.card[1].peak > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0", "True"]
