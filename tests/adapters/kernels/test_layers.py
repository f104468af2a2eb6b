"""A layer of the library's can be two: its first half of outputs, and the other one."""

import pytest
import torch
from torch import Tensor, nn

from danlu.adapters.kernels.layers import DENSE, INT8, Misfit, Parts, parts_of
from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import use
from danlu.adapters.models.weight_only.kernel import kernel_for
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear, packed_linear

COLUMNS = 64


def a_layer(outputs: int, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(COLUMNS, outputs, dtype=torch.bfloat16)
    chance = torch.Generator().manual_seed(seed)
    for weights in layer.parameters():
        weights.requires_grad_(False).normal_(generator=chance)
    return layer


def packed(layer: nn.Linear, bits: int, library: Library | None) -> WeightOnlyLinear:
    kernel = kernel_for("cpu", bits, library)
    return packed_linear(layer, layer.weight, kernel, torch.bfloat16)


def part(whole: nn.Linear, rows: slice) -> nn.Linear:
    layer = a_layer(len(whole.weight[rows]))
    layer.weight, layer.bias = nn.Parameter(whole.weight[rows]), nn.Parameter(whole.bias[rows])
    return layer.requires_grad_(False)


def same(found: Parts, expected: Parts | None) -> bool:
    assert expected is not None
    pairs = (
        (getattr(found, name), getattr(expected, name))
        for name in ("weight", "scales", "offsets", "bias")
    )
    alike = all(
        torch.equal(one, other) if isinstance(one, Tensor) else one is other for one, other in pairs
    )
    return alike and (found.kind, found.outputs) == (expected.kind, expected.outputs)


@pytest.mark.parametrize("bits", [8, 4])
def test_halves_of_a_packed_layer_are_its_halves_packed(own_library: Library, bits: int) -> None:
    if not own_library.integers:
        pytest.skip("this processor multiplies no integers")
    layer = a_layer(96)
    whole = parts_of(packed(layer, bits, own_library))
    assert whole is not None
    for half, rows in zip(whole.halves(), (slice(0, 48), slice(48, 96)), strict=True):
        assert same(half, parts_of(packed(part(layer, rows), bits, own_library)))


def test_halves_of_a_dense_layer_are_its_own_rows(own_library: Library) -> None:
    layer = a_layer(10)
    before = part(layer, slice(5, 10))
    use(own_library, nn.Sequential(layer))
    whole = parts_of(layer)
    assert whole is not None
    first, second = whole.halves()
    assert first.weight.data_ptr() == whole.weight.data_ptr()
    assert torch.equal(second.weight, before.weight)
    assert second.bias is not None and torch.equal(second.bias, before.bias)


@pytest.mark.parametrize(("kind", "outputs"), [(INT8, 80), (DENSE, 7)])
def test_outputs_that_lie_side_by_side_are_not_parted(
    own_library: Library, kind: int, outputs: int
) -> None:
    whole = Parts(own_library, kind, outputs, torch.zeros(outputs, COLUMNS))
    with pytest.raises(Misfit, match=f"a layer of {outputs} outputs in halves"):
        whole.halves()


def test_layers_of_others_have_no_parts(own_library: Library) -> None:
    assert parts_of(nn.Linear(COLUMNS, 64)) is None
    assert parts_of(nn.ReLU()) is None
    assert parts_of(packed(a_layer(64), 8, None)) is None
