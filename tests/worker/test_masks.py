"""A grammar's bits, against the tokens they stand for."""

import torch
from hypothesis import given, settings, strategies as st

from danlu.worker.masks import BITS, rule_out

VOCABULARY = 70  # two words and a bit


def mask_of(tokens: set[int], words: int = 3) -> torch.Tensor:
    values = [sum(1 << (t % BITS) for t in tokens if t // BITS == word) for word in range(words)]
    return torch.tensor([value - (value >> 31 << 32) for value in values], dtype=torch.int32)


@given(st.sets(st.integers(0, VOCABULARY - 1)), st.integers(0, 2))
@settings(deadline=None)
def test_what_has_no_bit_is_ruled_out_in_its_row_alone(tokens: set[int], row: int) -> None:
    scores = torch.zeros(3, 128)
    scores[:, VOCABULARY:] = -torch.inf
    rule_out(scores, {row: mask_of(tokens)})
    for at in range(3):
        left = set(scores[at].isfinite().nonzero().flatten().tolist())
        assert left == (tokens if at == row else set(range(VOCABULARY)))


def test_a_mask_may_be_longer_than_the_row() -> None:
    scores = torch.zeros(1, 40)
    rule_out(scores, {0: mask_of({1, 31, 39, 69})})
    assert scores[0].isfinite().nonzero().flatten().tolist() == [1, 31, 39]
