"""Finding tokens in rows of numbers, against the plain way."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.card import card, examples

from danlu.worker.drawing import BLOCK, drawn, highest, padded, padded_width, pick

pytestmark = pytest.mark.usefixtures("bound")

NAN, INF = float("nan"), float("inf")
WIDTH = 5 * BLOCK


def in_whole_blocks(logits: torch.Tensor) -> torch.Tensor:
    into = torch.empty(len(logits), padded_width(logits.shape[1]), device=card())
    return padded(logits.to(card()), into)


@given(st.integers(1, 1000), st.integers(0, 2**32))
@settings(deadline=None, max_examples=examples(100))
def test_the_highest_is_the_first_of_equals_as_argmax_says(size: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 4, (3, size), generator=chance).to(torch.bfloat16)
    peaks, tokens = highest(in_whole_blocks(logits))
    assert torch.equal(tokens.cpu(), logits.float().argmax(-1))
    assert torch.equal(peaks.cpu(), logits.float().amax(-1))


@pytest.mark.parametrize("fault", [NAN, INF])
def test_the_peak_shows_what_is_no_number(fault: float) -> None:
    logits = torch.zeros(2, 300)
    logits[1, 200] = fault
    peaks, tokens = highest(in_whole_blocks(logits))
    assert peaks[0] == 0
    assert not peaks[1].isfinite()
    assert int(tokens[1]) == 200


def test_there_is_always_a_column_that_is_no_token() -> None:
    assert [padded_width(size) for size in (1, 127, 128, 65024)] == [128, 128, 256, 65152]


def test_each_token_has_the_share_of_the_chances_that_is_its_probability() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 4.0, 0.0], device=card())
    steps = torch.arange(800, device=card()).unsqueeze(1) / 800
    places = pick(weights.expand(800, -1), steps).squeeze(1)
    assert torch.bincount(places.cpu(), minlength=6).tolist() == [0, 100, 0, 300, 400, 0]


@given(st.integers(0, 2**32), st.floats(0, 1 - 2**-24, width=32))
@settings(deadline=None, max_examples=examples(100))
def test_what_has_no_weight_is_never_drawn(seed: int, chance: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, WIDTH, generator=generator).pow(20)
    weights[torch.rand(2, WIDTH, generator=generator) < 0.9] = 0.0
    weights[:, 77] = 1e-3
    chances = torch.full((2, 2), chance)
    tokens = drawn(weights.to(card()), chances.to(card())).cpu()
    assert bool((weights.gather(1, tokens.unsqueeze(1)) > 0).all())


def test_two_levels_draw_from_the_whole_distribution() -> None:
    weights = torch.arange(WIDTH, dtype=torch.float32).expand(64 * 64, -1)
    grid = torch.arange(64) / 64 + 1 / 128
    chances = torch.cartesian_prod(grid, grid)
    tokens = drawn(weights.to(card()), chances.to(card())).cpu()
    halves = torch.bincount(tokens // (WIDTH // 2), minlength=2) / len(tokens)
    assert halves.tolist() == pytest.approx([0.25, 0.75], abs=0.02)
    assert float(tokens.float().mean()) == pytest.approx(WIDTH * 2 / 3, rel=0.01)


def test_a_row_of_no_numbers_still_gets_a_token() -> None:
    tokens = drawn(
        torch.full((1, WIDTH), NAN, device=card()), torch.full((1, 2), 0.5, device=card())
    )
    assert 0 <= int(tokens) < WIDTH
