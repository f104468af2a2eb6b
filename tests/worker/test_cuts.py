"""What the cuts leave, against transformers' warpers."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.card import card, examples
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from danlu.worker.cuts import (
    HEADS,
    Limits,
    drawn_from_all,
    drawn_from_head,
    head_size,
    kept,
    larger,
    top,
)

pytestmark = pytest.mark.usefixtures("bound")

ROUNDING = 1e-6  # of single precision, in a sum of probabilities
ALL_WIDTH = 1024

TOP_KS = st.sampled_from([0, 1, 2, 7, 40])
TOP_PS = st.sampled_from([1.0, 0.999, 0.9, 0.6, 0.3, 0.01])
MIN_PS = st.sampled_from([0.0, 0.01, 0.2, 1.0])


def limits_of(top_k: int, top_p: float, min_p: float) -> Limits:
    return Limits(
        top_k=torch.tensor([[top_k]], device=card()),
        rest=torch.tensor([[1 - top_p if top_p < 1 else -1.0]], device=card()),
        min_p=torch.tensor([[min_p]], device=card()),
        nuclear=top_p < 1 and not top_k,
        least=min_p > 0,
    )


def some_scores(seed: int, width: int, steps: int) -> Tensor:
    """[1, width] with many equal ones: multiples of 1 / steps, as of a model in half precision.

    They are on the host, where transformers cuts them.
    """
    chance = torch.Generator().manual_seed(seed)
    return (torch.randn(1, width, generator=chance) * 3 * steps).round() / steps


def theirs(scores: Tensor, top_k: int, top_p: float, min_p: float) -> list[float]:
    """The scores that are left, falling: which of several equals are is anybody's guess."""
    cuts = LogitsProcessorList()
    if top_k:
        cuts.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        cuts.append(TopPLogitsWarper(top_p))
    if min_p:
        cuts.append(MinPLogitsWarper(min_p))
    ids: Any = torch.zeros(1, 1, dtype=torch.long)
    left = cuts(ids, scores)
    return sorted(left[left.isfinite()].tolist(), reverse=True)


def ours(scores: Tensor, limits: Limits, size: int) -> list[float]:
    scores = scores.to(card())
    values, ids = top(scores, size)
    mass = 1 / scores.softmax(-1).amax(-1, keepdim=True) if limits.nuclear else None
    left: list[float] = scores[0, ids[kept(values, limits, mass)[0] > 0]].tolist()
    return left


def from_head(scores: Tensor, limits: Limits, size: int, chance: float = 0.0) -> tuple[int, bool]:
    """A token, and whether the cut reaches beyond the head."""
    chances = torch.full((1, 2), chance, device=card())
    token, beyond = drawn_from_head(scores.to(card()), limits, chances, size)
    return int(token), bool(beyond)


@given(st.integers(0, 2**32), st.sampled_from([1, 8, 10**6]), TOP_KS, TOP_PS, MIN_PS)
@settings(deadline=None, max_examples=examples(100))
def test_the_cuts_leave_what_those_of_transformers_leave(
    seed: int, steps: int, top_k: int, top_p: float, min_p: float
) -> None:
    scores = some_scores(seed, 300, steps)
    mine = ours(scores, limits_of(top_k, top_p, min_p), 300)
    more = theirs(scores, top_k, min(top_p + ROUNDING, 1.0), max(min_p - ROUNDING, 0.0))
    less = theirs(scores, top_k, top_p - ROUNDING if top_p < 1 else 1.0, min(min_p + ROUNDING, 1.0))
    assert mine == more[: len(mine)]
    assert less == mine[: len(less)]


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 8, 10**6]),
    TOP_KS,
    TOP_PS,
    MIN_PS,
    st.floats(0, 1 - 2**-24, width=32),
)
@settings(deadline=None, max_examples=examples(100))
def test_a_head_that_holds_the_cut_draws_what_the_whole_row_does(
    seed: int, steps: int, top_k: int, top_p: float, min_p: float, chance: float
) -> None:
    scores = some_scores(seed, ALL_WIDTH, steps)
    limits = limits_of(top_k, top_p, min_p)
    right, beyond = from_head(scores, limits, ALL_WIDTH, chance)
    assert not beyond
    for size in (48, 64, 256):
        token, beyond = from_head(scores, limits, size, chance)
        assert beyond or token == right


def test_a_nucleus_beyond_the_head_is_told() -> None:
    nearly = some_scores(1, ALL_WIDTH, 10**6) / 1e3  # flat
    for top_p, told in ((0.05, False), (0.5, True)):
        _, beyond = from_head(nearly, limits_of(0, top_p, 0.0), 64)
        assert beyond is told


def test_equals_of_the_last_one_beyond_the_head_are_told() -> None:
    _, beyond = from_head(torch.zeros(1, ALL_WIDTH), limits_of(20, 1.0, 0.0), 64)
    assert beyond


def test_equals_beyond_the_head_have_a_share_in_the_mass_of_a_nucleus() -> None:
    """Ten tokens are 0.79 of the head's mass, and 0.17 of what top_k leaves."""
    scores = torch.zeros(1, ALL_WIDTH)
    scores[0, :10] = 3.0
    _, beyond = from_head(scores, limits_of(40, 0.5, 0.0), 64)
    assert beyond


def test_what_is_ruled_out_is_not_beyond_anything() -> None:
    scores = torch.full((1, ALL_WIDTH), -torch.inf)
    scores[0, [3, 900]] = 0.0
    _, beyond = from_head(scores, limits_of(0, 0.9, 0.0), 64)
    assert not beyond


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.001, 0.2, 1.0]))
@settings(deadline=None, max_examples=examples(100))
def test_min_p_alone_needs_no_order(seed: int, min_p: float) -> None:
    scores = some_scores(seed, 640, 8)
    grid = torch.arange(16) / 16
    steps = torch.cartesian_prod(grid, grid)
    same = scores.to(card()).expand(len(steps), -1).contiguous()
    tokens = drawn_from_all(same, limits_of(0, 1.0, min_p), steps.to(card()))
    assert set(scores[0, tokens.cpu()].tolist()) <= set(theirs(scores, 0, 1.0, min_p))


@given(st.integers(0, 2**32), st.sampled_from([16, 64, 256, 640]))
@settings(deadline=None, max_examples=examples(100))
def test_the_top_falls_and_has_the_lower_id_first(seed: int, size: int) -> None:
    scores = some_scores(seed, 640, 10**6)
    scores[0, 100:140] = 0.25
    values, ids = (x.cpu() for x in top(scores.to(card()).expand(3, -1), size))
    best = scores.sort(descending=True, stable=True)
    assert torch.equal(values, best.values[:, :size].expand(3, -1))
    inside = int((best.values[0] > values[0, -1]).sum())  # of equals at the end it may have any
    assert torch.equal(ids[:, :inside], best.indices[:, :inside].expand(3, -1))


@pytest.mark.parametrize(
    ("top_k", "size"), [(0, 256), (1, 64), (48, 64), (49, 256), (1000, 4096), (4000, 65152)]
)
def test_a_head_has_room_for_the_equals_of_its_last_token(top_k: int, size: int) -> None:
    assert head_size(top_k, 65152) == size


def test_larger_heads_end_with_the_whole_row() -> None:
    assert larger(HEADS[0], 65152) == [256, 4096, 65152]
    assert larger(HEADS[1], 384) == [384]
    assert head_size(0, 128) == 128
