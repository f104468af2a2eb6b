"""Products by a weight of 4 bits, and their gradients, beside those by the weight made dense."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from danlu.adapters.models.weight_only.kernel import Kernel, kernel_for
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear, packed_linear
from danlu.adapters.models.weight_only.rows import GROUP, Rows, rounded
from danlu.training.methods.packed import TrainableInt4

KERNEL = TrainableInt4()


def layers(
    rows: int, groups: int, kernel: TrainableInt4 = KERNEL
) -> tuple[nn.Linear, WeightOnlyLinear]:
    """The dense layer whose weight the packed one has, rounded; and that one."""
    torch.default_generator.manual_seed(0)
    dense = nn.Linear(groups * GROUP, rows).requires_grad_(False)
    integers = rounded(dense.weight, 4, torch.float32)
    layer = packed_linear(dense, integers, kernel, torch.float32)
    dense.weight.copy_(integers.dense())
    return dense, layer


def result(layer: Any, x: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """What comes out, and the gradient of x."""
    x = x.clone().requires_grad_()
    found = layer(x)
    found.backward(back)
    assert x.grad is not None
    return found.detach(), x.grad


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 5), st.integers(1, 400))
def test_any_product_and_gradient_is_the_dense_layers(
    rows: int, groups: int, tokens: int, piece: int
) -> None:
    """In pieces of any size."""
    dense, layer = layers(rows, groups, TrainableInt4(piece))
    x, back = torch.randn(2, tokens, groups * GROUP), torch.randn(2, tokens, rows)
    found = result(layer, x, back)
    for one, expected in zip(found, result(dense, x, back), strict=True):
        assert torch.allclose(one, expected, atol=1e-5)


def test_its_numbers_are_those_that_a_worker_multiplies_by() -> None:
    weight = torch.randn(128, 256).bfloat16()
    layer = nn.Linear(256, 128, bias=False).requires_grad_(False)
    kernels: tuple[Kernel, ...] = (KERNEL, kernel_for("cpu", 4))
    ours, served = (packed_linear(layer, weight, kernel, torch.bfloat16) for kernel in kernels)
    each = torch.eye(256, dtype=torch.bfloat16)  # a column comes out as it is
    assert torch.allclose(ours(each).float(), served(each).float(), atol=2e-2)
    assert torch.equal(ours(each).T.float(), rounded(weight, 4, torch.bfloat16).dense().bfloat16())


def test_integers_of_a_checkpoint_are_kept_as_they_are() -> None:
    """A scale for each row, and no offsets."""
    integers = torch.arange(-8, 8, dtype=torch.int8).repeat(3, 4)
    rows = Rows(4, integers, torch.tensor([[1.0], [0.5], [2.0]]))
    layer = nn.Linear(64, 3, bias=False).requires_grad_(False)
    found = packed_linear(layer, rows, KERNEL, torch.float32)(torch.eye(64)).T
    assert torch.equal(found, rows.dense())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_is_heard_in_both_directions(half: torch.dtype) -> None:
    dense, layer = layers(8, 2)
    for one in (dense, layer):
        one.register_parameter("bias", None)
    x, back = torch.randn(3, 2 * GROUP), torch.randn(3, 8).to(half)
    with torch.autocast("cpu", half):
        found, expected = result(layer, x, back), result(dense, x, back)
    assert found[0].dtype == expected[0].dtype == half
    assert found[1].dtype == expected[1].dtype == torch.float32
    for got, other in zip(found, expected, strict=True):
        assert torch.allclose(got.float(), other.float(), atol=2e-2)


def test_a_weight_of_4_bits_takes_a_fifth_of_a_half() -> None:
    """4 bits, and in bfloat16 a scale and an offset for each 32 columns: 5 bits a number."""
    held = KERNEL.pack(rounded(torch.randn(64, 512), 4, torch.bfloat16), torch.bfloat16)
    tensors = [tensor for tensor in held if tensor is not None]
    assert sum(tensor.nbytes for tensor in tensors) * 8 == 5 * 64 * 512


def test_columns_that_are_no_whole_groups_are_not_packed() -> None:
    assert KERNEL.fits(7, 3 * GROUP) and not KERNEL.fits(64, GROUP + 8)
