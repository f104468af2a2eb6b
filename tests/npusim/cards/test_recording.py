"""Work that a card records: by CANN's rules, through torch_npu's graphs, in a worker's answers."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from npusim.cards.workers import Worker, a_worker, bound, frames, together
from npusim.machine import State

from danlu.adapters.devices.device import Device, Recorder, device_named
from danlu.adapters.devices.fault import Fault

npu: Any = torch.npu  # type: ignore[attr-defined]


@pytest.fixture
def device(machine: State) -> Device:
    """Card 0, which this test's own thread is bound to."""
    device = device_named("npu:0")
    device.bind_thread()
    return device


@pytest.fixture
def recorder(device: Device) -> Recorder:
    found = device.recorder()
    assert found is not None
    return found


def test_a_recording_does_nothing_until_it_is_replayed(recorder: Recorder, machine: State) -> None:
    x, y = torch.ones(3, device="npu:0"), torch.zeros(3, device="npu:0")
    before = machine.replays
    replay = recorder.record(lambda: (y.copy_((x + 1) * 2), None)[1])
    assert y.tolist() == [0, 0, 0]
    for value in (1.0, 4.0):
        x.fill_(value)
        replay()
        assert y.tolist() == [2 * value + 2] * 3
    assert machine.replays - before == 2


def test_what_was_made_while_recording_holds_no_number_yet(recorder: Recorder) -> None:
    x, made = torch.ones(3, device="npu:0"), list[torch.Tensor]()
    replay = recorder.record(lambda: made.append(x + 1))
    assert made[0].isnan().all()
    replay()
    assert made[0].tolist() == [2, 2, 2]


REFUSED: dict[str, tuple[Callable[[torch.Tensor], object], str]] = {
    "reading a number back": (lambda x: x.sum().item(), "107027"),
    "waiting for the card": (lambda x: npu.synchronize(), "107027"),
    "counting what is true": (lambda x: x.nonzero(), "107027"),
    "taking what is true": (lambda x: x[x > 0], "107027"),
    "bringing numbers along": (lambda x: torch.tensor([1.0], device="npu:0"), "107030"),
    "taking numbers home": (lambda x: x.cpu(), "107030"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_recorded_is_refused_and_the_card_works_on(
    what: str, recorder: Recorder, device: Device
) -> None:
    work, code = REFUSED[what]
    x, stream = torch.ones(3, device="npu:0"), npu.current_stream()
    with pytest.raises(RuntimeError, match=f"error code is {code}") as info:
        recorder.record(lambda: (work(x), None)[1])
    assert device.fault(info.value) is None
    assert npu.current_stream() == stream
    assert (x + 1).tolist() == [2, 2, 2]
    y = torch.zeros(3, device="npu:0")
    replay = recorder.record(lambda: (y.copy_(x), None)[1])
    replay()
    assert y.tolist() == [1, 1, 1]


def test_another_thread_may_use_the_card_while_one_records(recorder: Recorder) -> None:
    x = torch.ones(3, device="npu:0")

    def work() -> None:
        assert bound(0, lambda: (torch.ones(2).to("npu:0") + 1).tolist()) == [2, 2]
        x.add_(1)

    replay = recorder.record(work)
    replay()
    assert x.tolist() == [2, 2, 2]


def test_memory_that_was_given_back_fails_the_replay_as_a_card_does(
    recorder: Recorder, device: Device
) -> None:
    kept, y = [torch.ones(1 << 23, device="npu:0")], torch.zeros(1, device="npu:0")
    replay = recorder.record(lambda: (y.copy_(kept[0][:1]), None)[1])
    replay()
    kept.clear()
    npu.empty_cache()
    with pytest.raises(RuntimeError, match="507015") as info:
        replay()
    assert device.fault(info.value) is Fault.LOST


def test_recordings_share_memory_and_give_it_back(recorder: Recorder, machine: State) -> None:
    x, out = torch.ones(1 << 20, device="npu:0"), torch.zeros(1, device="npu:0")

    def work() -> None:
        out.copy_((x * 2 + 1).sum(0, keepdim=True))

    device_used = machine.card[0].used
    replays = [recorder.record(work)]
    one = machine.card[0].used - device_used
    replays += [recorder.record(work) for _ in range(5)]
    assert machine.card[0].used - device_used == one > 0
    replays.clear()
    npu.empty_cache()
    assert machine.card[0].used < device_used + one


def test_a_card_that_is_lost_while_it_records_is_known_for_that(
    recorder: Recorder, device: Device, machine: State
) -> None:
    x = torch.ones(3, device="npu:0")

    def work() -> None:
        machine.card[0].lose()
        x.add_(1)

    with pytest.raises(RuntimeError) as info:
        recorder.record(work)
    machine.card[0].mend()
    assert device.fault(info.value) is Fault.LOST


PROMPTS = 8


async def told(worker: Worker) -> list[str]:
    """What is answered to questions of all kinds, together and one by one."""
    chance = random.Random(4)
    bodies = [
        {
            "prompt": "cats " * chance.randint(1, 20),
            "max_new_tokens": chance.randint(1, 30),
            **chance.choice([{"temperature": 0}, {"seed": 3}, {"seed": 4, "top_p": 0.9}]),
        }
        for _ in range(PROMPTS)
    ]
    async with worker.client() as client:
        alone = [(await frames(client, **body))[-1]["text"] for body in bodies]
        same = await together(PROMPTS, lambda i: frames(client, **bodies[i]))
    assert [frame[-1]["text"] for frame in same] == alone
    return alone


@pytest.mark.anyio
@pytest.mark.parametrize("card", [0, 1])
async def test_a_worker_answers_the_same_with_and_without_recordings(
    card: int, tiny_dir: Path, machine: State
) -> None:
    found, replays = [], []
    for graphs in ("off", "on"):
        with a_worker(tiny_dir, card, graphs=graphs, limit_worker_concurrency=4) as worker:
            before = machine.replays, machine.recordings
            found.append(await told(worker))
            replays.append(machine.replays - before[0])
            assert machine.recordings == before[1], "nothing is recorded while somebody waits"
    assert found[0] == found[1]
    assert replays[0] == 0 < 50 < replays[1]


def test_auto_records_on_a_card(tiny_dir: Path, machine: State) -> None:
    before = machine.recordings
    with a_worker(tiny_dir, 1, limit_worker_concurrency=2):
        assert machine.recordings > before
