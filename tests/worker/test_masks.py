"""A grammar's bits, against the tokens they stand for."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.card import card, examples

from danlu.worker.masks import BITS, rule_out

pytestmark = pytest.mark.usefixtures("bound")

VOCABULARY = 70  # two words and a bit


def mask_of(tokens: set[int], words: int = 3) -> torch.Tensor:
    values = [sum(1 << (t % BITS) for t in tokens if t // BITS == word) for word in range(words)]
    signed = [value - (value >> 31 << 32) for value in values]
    return torch.tensor(signed, dtype=torch.int32, device=card())


@given(st.sets(st.integers(0, VOCABULARY - 1)), st.integers(0, 2))
@settings(deadline=None, max_examples=examples(100))
def test_what_has_no_bit_is_ruled_out_in_its_row_alone(tokens: set[int], row: int) -> None:
    scores = torch.zeros(3, 128, device=card())
    scores[:, VOCABULARY:] = -torch.inf
    rule_out(scores, {row: mask_of(tokens)})
    left_in = scores.cpu()
    for at in range(3):
        left = set(left_in[at].isfinite().nonzero().flatten().tolist())
        assert left == (tokens if at == row else set(range(VOCABULARY)))


def test_a_mask_may_be_longer_than_the_row() -> None:
    scores = torch.zeros(1, 40, device=card())
    rule_out(scores, {0: mask_of({1, 31, 39, 69})})
    assert scores[0].isfinite().nonzero().flatten().tolist() == [1, 31, 39]


def test_a_mask_is_for_the_rows_that_a_model_has() -> None:
    """One more row than a word has bits, and fewer than the vocabulary has ids."""
    scores = torch.arange(33, dtype=torch.float16, device=card()).unsqueeze(0)
    rule_out(scores, {0: mask_of({31, 32})})
    assert scores[0].tolist() == [-torch.inf] * 31 + [31, 32]
