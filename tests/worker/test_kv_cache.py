"""Moves on tensors: what goes where, and that nothing else changes."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.card import card, examples
from support.paper_cache import PaperCache
from torch import Tensor

from danlu.worker.kv_cache import KvCache, LayerShape, slot_bytes
from danlu.worker.kv_slots import Copy, Swap

LAYERS = (LayerShape(2, 4), LayerShape(1, 8))
SLOTS, LENGTH = 3, 5
HERE = torch.device(card())

pytestmark = pytest.mark.usefixtures("bound")


def a_cache(dtype: torch.dtype = torch.float32) -> KvCache:
    return KvCache(LAYERS, SLOTS, LENGTH, dtype, HERE)


def tensors(cache: KvCache) -> list[Tensor]:
    return [*cache.keys, *cache.values]


def filled() -> KvCache:
    """Slot i has i * 10 + t at its token t, in every head and channel of all layers."""
    cache = a_cache()
    for tensor in tensors(cache):
        rows = torch.arange(SLOTS + 1).view(-1, 1, 1, 1) * 10
        tensor.copy_((rows + torch.arange(LENGTH).view(1, 1, -1, 1)).expand(tensor.shape).float())
    return cache


def held(cache: KvCache, slot: int) -> list[int]:
    """What the slot's tokens are, the same in all heads and channels of all layers."""
    rows = [tensor[slot].cpu().transpose(0, 1).flatten(1) for tensor in tensors(cache)]
    assert all(bool((row == row[:, :1]).all()) for row in rows)
    assert all(torch.equal(row[:, 0], rows[0][:, 0]) for row in rows)
    return [int(n) for n in rows[0][:, 0]]


def test_every_layer_has_the_shape_it_needs_and_a_spare_row() -> None:
    cache = a_cache()
    shapes = [tuple(tensor.shape) for tensor in cache.keys]
    assert shapes == [(4, 2, 5, 4), (4, 1, 5, 8)]
    assert [tuple(tensor.shape) for tensor in cache.values] == shapes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_cache_begins_as_zeros_and_takes_what_was_reckoned(dtype: torch.dtype) -> None:
    cache = a_cache(dtype)
    assert all(tensor.dtype == dtype and not tensor.any() for tensor in tensors(cache))
    taken = sum(tensor.nbytes for tensor in tensors(cache))
    assert taken == (SLOTS + 1) * slot_bytes(LAYERS, LENGTH, dtype)


def test_a_copy_takes_the_beginning_and_leaves_the_rest() -> None:
    cache = filled()
    cache.move(Copy(0, 2, 3))
    assert [held(cache, i) for i in range(SLOTS)] == [
        [0, 1, 2, 3, 4],
        [10, 11, 12, 13, 14],
        [0, 1, 2, 23, 24],
    ]


def test_a_swap_takes_both() -> None:
    cache = filled()
    cache.move(Swap(0, 2, 5))
    assert [held(cache, i) for i in range(SLOTS)] == [
        [20, 21, 22, 23, 24],
        [10, 11, 12, 13, 14],
        [0, 1, 2, 3, 4],
    ]


def test_a_wipe_leaves_nothing_of_a_slots_first_tokens_not_even_what_is_no_number() -> None:
    cache = filled()
    cache.keys[0][1, 0, 2, 3] = float("nan")
    cache.wipe(1, 0, 3)
    assert [held(cache, i) for i in range(SLOTS)] == [
        [0, 1, 2, 3, 4],
        [0, 0, 0, 13, 14],
        [20, 21, 22, 23, 24],
    ]


moves = st.one_of(
    st.builds(
        lambda pair, length: Copy(pair[0], pair[1], length),
        st.permutations(range(SLOTS)),
        st.integers(0, LENGTH),
    ),
    st.builds(
        lambda pair, length: Swap(pair[0], pair[1], length),
        st.permutations(range(SLOTS)),
        st.integers(0, LENGTH),
    ),
)


@settings(max_examples=examples(50), deadline=None)
@given(made=st.lists(moves, max_size=8))
def test_moves_do_on_tensors_what_they_do_on_paper(made: list[Copy | Swap]) -> None:
    cache, paper = filled(), PaperCache(SLOTS, LENGTH)
    for i in range(SLOTS):
        paper[i][:] = [i * 10 + t for t in range(LENGTH)]
    paper.move(made)
    for move in made:
        cache.move(move)
    assert [held(cache, i) for i in range(SLOTS)] == [paper[i] for i in range(SLOTS)]
