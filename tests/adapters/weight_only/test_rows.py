"""Weights become integers and come back as near as their bits allow."""

import pytest
import torch
from torch import Tensor

from danlu.adapters.models.weight_only.rows import GROUP, SLICE, Rows, rounded

BFLOAT16 = torch.bfloat16


def a_weight(n: int = 6, k: int = 2 * GROUP, seed: int = 0) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


def test_eight_bits_miss_by_half_a_step_at_most() -> None:
    weight = a_weight()
    rows = rounded(weight, 8, torch.float32)
    assert rows.integers.dtype == torch.int8 and rows.scale.shape == (6, 1)
    assert ((rows.dense() - weight).abs() <= rows.scale * 0.501).all()


def test_each_row_has_the_scale_of_its_own_largest() -> None:
    weight = a_weight() * torch.tensor([[1e-3], [1.0], [1e3], [1.0], [1.0], [1.0]])
    rows = rounded(weight, 8, torch.float32)
    assert torch.equal(rows.integers.abs().amax(1), torch.full((6,), 127, dtype=torch.int8))


def test_four_bits_miss_by_half_a_step_at_most() -> None:
    weight = torch.linspace(-1, 2, GROUP)[None]
    rows = rounded(weight, 4, torch.float32)
    assert rows.offset is not None and rows.scale.shape == (1, 1)
    assert [int(rows.integers.amin()), int(rows.integers.amax())] == [-8, 7]
    assert ((rows.dense() - weight).abs() <= rows.scale * 0.501).all()


def test_groups_do_not_know_each_other() -> None:
    weight = a_weight(2, 3 * GROUP)
    other = weight.clone()
    other[:, GROUP:] *= 100
    first, second = (rounded(w, 4, BFLOAT16).dense()[:, :GROUP] for w in (weight, other))
    assert torch.equal(first, second)


@pytest.mark.parametrize("bits", [4, 8])
def test_integers_are_rounded_by_the_scales_that_are_kept(bits: int) -> None:
    """A scale that were cut to bfloat16 afterwards would shift whole rows."""
    weight = a_weight(64)
    rows = rounded(weight, bits, BFLOAT16)
    assert rows.scale.dtype == BFLOAT16
    step = rows.scale.to(torch.float32).repeat_interleave(64 // rows.scale.shape[1], dim=1)
    missed = (rows.dense() - weight).abs() / step
    inner = rows.integers.abs() < (127 if bits == 8 else 7)
    assert missed[inner].max() <= 0.501


@pytest.mark.parametrize("bits", [4, 8])
def test_a_row_of_zeros_stays_one(bits: int) -> None:
    assert not rounded(torch.zeros(2, GROUP), bits, BFLOAT16).dense().any()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_large_weight_is_rounded_slice_by_slice_to_the_same(bits: int) -> None:
    k = 2**14
    weight = a_weight(2 * SLICE // k + 1, k)
    rows = rounded(weight, bits, BFLOAT16)
    last = rounded(weight[-1:], bits, BFLOAT16)
    assert torch.equal(rows.integers[-1:], last.integers)
    assert rows.shape == weight.shape


def test_stored_rows_are_split_as_their_weight_is() -> None:
    rows = Rows(8, torch.arange(6, dtype=torch.int8)[:, None], torch.arange(6.0)[:, None])
    first, second = rows.split(lambda tensor: (tensor[:2], tensor[2:]))
    assert torch.equal(torch.cat([first.dense(), second.dense()]), rows.dense())
