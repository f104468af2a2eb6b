"""What is handed to torch's operators for NVIDIA cards is what their schemas take."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import linear

from danlu.adapters.errors import StartError
from danlu.adapters.models.weight_only.cuda import DENSE_FROM, CUDAInt4, CUDAInt8
from danlu.adapters.models.weight_only.kernel import kernel_for
from danlu.adapters.models.weight_only.rows import Rows, rounded

BFLOAT16 = torch.bfloat16
N, K = 64, 128


class Operators:
    """The same mathematics without tiles."""

    def _weight_int8pack_mm(self, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        return linear(x, weight.to(x.dtype)) * scales

    def _convert_weight_to_int4pack(self, pairs: Tensor, tiles: int) -> Tensor:
        """uint8 [n, k / 2], the even column in the upper half."""
        assert pairs.dtype == torch.uint8
        return torch.stack((pairs >> 4, pairs & 15), dim=-1).flatten(1)

    def _weight_int4pack_mm(self, x: Tensor, weight: Tensor, group: int, scales: Tensor) -> Tensor:
        grouped = (weight.to(torch.float32) - 8).view(len(weight), -1, group)
        scale, offset = scales.to(torch.float32).transpose(0, 1)[..., None, :].unbind(-1)
        return linear(x, (grouped * scale + offset).flatten(1).to(x.dtype))


@pytest.mark.parametrize("kernel", [CUDAInt8(Operators()), CUDAInt4(Operators())])
@pytest.mark.parametrize("count", [1, DENSE_FROM])
@pytest.mark.parametrize("stored", [False, True])
def test_the_product_is_that_of_the_integers(
    kernel: CUDAInt8 | CUDAInt4, count: int, stored: bool
) -> None:
    rows = rounded(torch.randn(N, K), kernel.bits, BFLOAT16)
    if stored:
        scale = torch.rand(N, 1).to(BFLOAT16)
        rows = Rows(kernel.bits, torch.randint(-7, 8, (N, K)).to(torch.int8), scale)
    x = torch.randn(count, K).to(BFLOAT16)
    found = kernel.multiply(x, kernel.pack(rows, BFLOAT16)).to(torch.float32)
    exact = x.to(torch.float32) @ rows.dense().t()
    assert (found - exact).norm() / exact.norm() < 1e-2


def test_torch_itself_takes_what_is_packed_with_four_bits() -> None:
    """Its shapes and formats are checked without a card, on tensors without memory."""
    kernel = CUDAInt4(torch.ops.aten)
    with FakeTensorMode():
        integers = torch.zeros(N, K, dtype=torch.int8)
        scale = torch.zeros(N, K // 32, dtype=BFLOAT16)
        packed = kernel.pack(Rows(4, integers, scale, scale), BFLOAT16)
        x = torch.zeros(3, K, dtype=BFLOAT16)
        assert kernel.multiply(x, packed).shape == (3, N)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built with CUDA")
@pytest.mark.parametrize("bits", [4, 8])
def test_a_torch_without_the_operators_is_told(bits: int) -> None:
    with pytest.raises(StartError, match="^--quantization needs _weight_int.pack_mm, which torch"):
        kernel_for("cuda:0", bits)
