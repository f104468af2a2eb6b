"""A machine of the generation before A2: no bfloat16, and operators compiled for each shape."""

from pathlib import Path
from typing import Any

import pytest
import torch
from npusim.cards.workers import a_worker, bound, frames, together
from npusim.machine import State, here
from support.tiny import byte_level_tokenizer, random_model, tiny_config

from danlu.adapters.devices.device import device_named
from danlu.adapters.errors import StartError

pytestmark = pytest.mark.anyio


@pytest.fixture
def bfloat16_dir(tmp_path: Path) -> Path:
    """A checkpoint whose weights are bfloat16."""
    model: Any = random_model(tiny_config())
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    return tmp_path


async def test_a_bfloat16_checkpoint_is_served_in_float16_and_nothing_is_compiled(
    bfloat16_dir: Path,
) -> None:
    machine = here()
    assert (machine.jit, machine.bfloat16) == (1, 0)
    with a_worker(bfloat16_dir, 1, dtype=None) as worker:
        async with worker.client() as client:
            told = await together(8, lambda i: frames(client, seed=i))
    assert {frames[-1]["finish_reason"] for frames in told} == {"length"}
    assert (machine.jit, machine.compiles) == (0, 0)


def test_bfloat16_is_refused_in_one_sentence(bfloat16_dir: Path, machine: State) -> None:
    device = device_named("npu:0")
    assert not bound(0, lambda: device.bfloat16)
    with (
        pytest.raises(StartError, match="^--dtype bfloat16 is nothing that npu:0 computes with;"),
        a_worker(bfloat16_dir, 0, dtype="bfloat16"),
    ):
        pass


def test_such_a_chip_records_nothing(bfloat16_dir: Path) -> None:
    before = here().recordings
    with (
        pytest.raises(StartError, match="^--graphs on: npu:1 records no steps; leave it out$"),
        a_worker(bfloat16_dir, 1, dtype=None, graphs="on"),
    ):
        pass
    with a_worker(bfloat16_dir, 1, dtype=None):
        assert here().recordings == before == 0
