"""What is handed to torch_npu's operators means what was packed, by its documentation."""

import json

import pytest
import torch
from torch import Tensor

from danlu.adapters.errors import StartError
from danlu.adapters.models.weight_only.npu import NPUInt4, NPUInt8
from danlu.adapters.models.weight_only.rows import Rows, rounded

FAKE = "support.fake_weight_quant"
N, K = 64, 96


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", [NPUInt8(FAKE), NPUInt4(FAKE)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 40])
def test_the_product_is_that_of_the_integers(
    kernel: NPUInt8, dtype: torch.dtype, count: int
) -> None:
    rows = rounded(random(N, K), kernel.bits, dtype)
    x = random(count, K).to(dtype)
    found = kernel.multiply(x, kernel.pack(rows, dtype))
    exact = x.to(torch.float32) @ rows.dense().t()
    assert (found.to(torch.float32) - exact).norm() / exact.norm() < 1e-2


@pytest.mark.parametrize("kernel", [NPUInt8(FAKE), NPUInt4(FAKE)])
def test_rows_of_a_checkpoint_are_taken_with_their_one_scale(kernel: NPUInt8) -> None:
    integers = torch.randint(-7, 8, (N, K)).to(torch.int8)
    rows = Rows(kernel.bits, integers, torch.rand(N, 1).to(torch.float16))
    packed = kernel.pack(rows, torch.float16)
    assert (packed.scales.shape, packed.offsets) == ((1, N), None)
    x = random(3, K).to(torch.float16)
    exact = x.to(torch.float32) @ rows.dense().t()
    assert (kernel.multiply(x, packed) - exact).norm() / exact.norm() < 1e-3


def test_sizes_that_the_operators_do_not_take_are_not_packed() -> None:
    assert NPUInt4(FAKE).fits(64, 64)
    assert not NPUInt4(FAKE).fits(64, 32)
    assert not NPUInt4(FAKE).fits(60, 64)
    assert not NPUInt8(FAKE).fits(64, 40)


def test_a_library_without_the_operators_is_told() -> None:
    with pytest.raises(StartError, match="needs npu_weight_quant_batchmatmul, which this json"):
        NPUInt8(json.__name__)
