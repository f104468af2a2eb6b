"""Adapters come into the device's memory as long as they have room there."""

from collections.abc import Callable

import pytest
import torch
from support.card import on_card
from support.tiny import random_model, tiny_config

from danlu.adapters.errors import OutOfMemory
from danlu.adapters.models.tuned.adapter import Lora, Pair, Prefix
from danlu.worker.adapter import Adapter
from danlu.worker.tunings import MIB, Tunings

pytestmark = pytest.mark.usefixtures("bound")
WIDTH = 64
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")


def a_lora(numbers: int) -> Lora:
    """One of so many numbers, on layers whose shapes do not matter until a step runs."""
    rank = numbers // (2 * len(LAYERS) * WIDTH)
    pair = Pair(torch.ones(rank, WIDTH), torch.ones(WIDTH, rank))
    return Lora(dict.fromkeys(LAYERS, pair))


def a_prefix(numbers: int) -> Prefix:
    layer = torch.ones(1, numbers // 4, 1)
    return Prefix((layer,) * 2, (layer,) * 2, first=0)


def tunings(room: int | None) -> Tunings:
    return Tunings(on_card(random_model(tiny_config())), room)


@pytest.mark.parametrize("make", [a_lora, a_prefix])
def test_one_that_just_fits_is_loaded_and_one_more_is_refused_by_size(
    make: Callable[[int], Lora | Prefix],
) -> None:
    """float32 numbers of 4 bytes."""
    kept = tunings(3 * MIB)
    kept.load(Adapter("one"), make(MIB // 2))
    kept.load(Adapter("two"), make(MIB // 4))
    expected = r"takes 0\.5 MiB, and of 3\.0 for adapters 0\.0 are left; unload another one first"
    with pytest.raises(OutOfMemory, match=expected) as caught:
        kept.load(Adapter("three"), make(MIB // 8))
    assert caught.value.status == 503
    assert not kept.enter(Adapter("three"))


def test_an_unloaded_one_makes_room_once_nobody_counts_on_it() -> None:
    kept, one, two = tunings(MIB), Adapter("one"), Adapter("two")
    kept.load(one, a_lora(MIB // 4))
    assert kept.enter(one)
    kept.retire(one)
    with pytest.raises(OutOfMemory):
        kept.load(two, a_lora(MIB // 4))
    kept.leave(one)
    kept.load(two, a_lora(MIB // 4))
    assert kept.enter(two)


def test_one_that_could_not_be_placed_takes_no_room() -> None:
    kept = tunings(MIB)
    pair = a_lora(MIB // 4).pairs[LAYERS[0]]
    with pytest.raises(AttributeError):
        kept.load(Adapter("broken"), Lora({LAYERS[0]: pair, "model.layers.99": pair}))
    kept.load(Adapter("one"), a_lora(MIB // 4))


def test_where_nothing_is_said_there_is_room_for_any() -> None:
    kept = tunings(None)
    for number in range(9):
        kept.load(Adapter(str(number)), a_lora(MIB))
