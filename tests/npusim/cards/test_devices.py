"""What the worker's adapter for NPUs tells, asked above the real torch_npu."""

from collections.abc import Callable

import pytest
import torch
from npusim.cards.workers import aside, bound
from npusim.machine import State, unbind

from danlu.adapters.devices.device import NOWHERE, Device, device_named, present
from danlu.adapters.devices.fault import Fault

npu = torch.npu  # type: ignore[attr-defined]


@pytest.fixture
def device(machine: State) -> Device:
    return device_named("npu:1")


def test_the_cards_are_found() -> None:
    assert present() == ["npu:0", "npu:1", "cpu"]
    assert device_named("auto").name == "npu:0"


@pytest.mark.parametrize("strict", [1, 0])
def test_a_thread_is_where_it_was_bound_to(strict: int, device: Device, machine: State) -> None:
    machine.strict = strict

    def seen(*steps: Callable[[], object]) -> str:
        return aside(lambda: ([step() for step in steps], device.where())[1], "test")

    assert seen() == NOWHERE
    assert seen(device.bind_thread) == "npu:1"
    assert seen(device.bind_thread, lambda: npu.set_device(0)) == "npu:0"
    assert seen(device.bind_thread, unbind) == NOWHERE


def test_a_card_of_the_driver_is_not_a_thread_of_ours(device: Device, machine: State) -> None:
    """Faithful: an operation leaves a thread that never chose on card 0, without a word."""
    machine.strict = 0
    x = bound(1, lambda: torch.ones(2, device="npu:1"))
    assert aside(lambda: ((x + 1).sum().item(), device.where())[1], "test") != "npu:1"


def test_looking_gives_no_context(device: Device, machine: State) -> None:
    machine.strict = 0
    before = machine.threads
    assert aside(device.where, "looking") == NOWHERE
    assert [t for t in machine.thread[before : machine.threads] if t.calls or t.bound] == []


def test_full_memory_is_known_for_what_it_is(device: Device, machine: State) -> None:
    machine.card[1].capacity = machine.card[1].used
    with pytest.raises(RuntimeError) as info:
        bound(1, lambda: torch.empty(1 << 26, device="npu:1"))
    assert device.fault(info.value) is Fault.OUT_OF_MEMORY


@pytest.mark.parametrize("work", [lambda: torch.ones(2, device="npu:1"), lambda: npu.synchronize()])
def test_a_lost_card_is_known_for_what_it_is(
    work: Callable[[], object], device: Device, machine: State
) -> None:
    machine.card[1].lose()
    with pytest.raises(RuntimeError) as info:
        bound(1, work)
    assert device.fault(info.value) is Fault.LOST


def test_a_thread_without_a_context_says_nothing_about_the_card(
    device: Device, machine: State
) -> None:
    with pytest.raises(RuntimeError, match="107002") as info:
        aside(lambda: torch.ones(2, device="npu:1"), "test")
    assert device.fault(info.value) is None


def test_memory_is_counted(device: Device, machine: State) -> None:
    free = bound(1, device.free_memory)
    x = bound(1, lambda: torch.empty(1 << 28, dtype=torch.uint8, device="npu:1"))
    assert free - bound(1, device.free_memory) >= x.numel()
    del x
    bound(1, device.release_memory)
    assert bound(1, device.free_memory) == free
