"""The host's kernels multiply by what was packed, and each row of activations for itself."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from danlu.adapters.models.weight_only import cpu
from danlu.adapters.models.weight_only.cpu import CPUInt4, CPUInt8, layout_is_known
from danlu.adapters.models.weight_only.kernel import Kernel, kernel_for
from danlu.adapters.models.weight_only.rows import Rows, rounded

BFLOAT16 = torch.bfloat16
N, K = 192, 96
COUNTS = sorted({1, 2, 5, *cpu.DENSE_FROM.values(), *(n - 1 for n in cpu.DENSE_FROM.values()), 70})


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def apart(found: Tensor, exact: Tensor) -> float:
    return float((found.to(torch.float32) - exact).norm() / exact.norm())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("wide", [False, True])
def test_the_product_is_that_of_the_integers(bits: int, count: int, wide: bool) -> None:
    """`wide`: more columns than one dense piece has numbers for, so that there are several."""
    n, k = (N, cpu.PIECE // 64) if wide else (N, K)
    kernel = kernel_for("cpu", bits)
    rows = rounded(random(n, k), bits, BFLOAT16)
    x = random(count, k, seed=1).to(BFLOAT16)
    found = kernel.multiply(x, kernel.pack(rows, BFLOAT16))
    assert (found.dtype, found.shape) == (BFLOAT16, (count, n))
    assert apart(found, x.to(torch.float32) @ rows.dense().t()) < 5e-3


@pytest.mark.parametrize("bits", [4, 8])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_row_of_activations_never_depends_on_its_mates(bits: int, data: st.DataObject) -> None:
    """Bit by bit, at the same number of rows, wherever it stands and however loud they are."""
    kernel = kernel_for("cpu", bits)
    packed = kernel.pack(rounded(random(N, K), bits, BFLOAT16), BFLOAT16)
    count = data.draw(st.sampled_from(COUNTS))
    loud = data.draw(st.sampled_from([0.0, 1.0, 1e4, float("nan")]))
    seeds = st.integers(0, 2**16)
    alone = random(1, K, seed=data.draw(seeds)).to(BFLOAT16)
    found = []
    for _ in range(2):
        mates = (random(count, K, seed=data.draw(seeds)) * loud).to(BFLOAT16)
        place = data.draw(st.integers(0, count - 1))
        mates[place] = alone
        found.append(kernel.multiply(mates, packed)[place])
    assert torch.equal(*found)


@pytest.mark.parametrize("kernel", [CPUInt4(), CPUInt8()])
def test_rows_of_a_checkpoint_have_one_scale_and_are_multiplied_as_they_are(kernel: Kernel) -> None:
    """Integers are exact, scales of float16 are kept as bfloat16."""
    high = 2 ** (kernel.bits - 1)
    integers = torch.randint(-high + 1, high, (N, 256)).to(torch.int8)
    scale = (torch.rand(N, 1) * 0.01).to(torch.float16)
    packed = kernel.pack(Rows(kernel.bits, integers, scale), BFLOAT16)
    kept = Rows(kernel.bits, integers, scale.to(BFLOAT16)).dense()
    for count in (1, 70):
        x = random(count, 256).to(BFLOAT16)
        assert apart(kernel.multiply(x, packed), x.to(torch.float32) @ kept.t()) < 5e-3


@pytest.mark.parametrize("kernel", [CPUInt4(), CPUInt8()])
def test_a_packed_weight_takes_its_bits(kernel: Kernel) -> None:
    packed = kernel.pack(rounded(random(N, 128), kernel.bits, BFLOAT16), BFLOAT16)
    assert packed.weight.numel() * packed.weight.element_size() == N * 128 * kernel.bits // 8


@pytest.mark.parametrize("kernel", [CPUInt4(), CPUInt8()])
@pytest.mark.parametrize(
    ("rows", "columns", "fits"),
    [(64, 32, True), (65024, 4096, True), (27392, 13696, True), (63, 32, False), (64, 48, False)],
)
def test_a_size_that_a_kernel_does_not_take_is_not_packed(
    kernel: Kernel, rows: int, columns: int, fits: bool
) -> None:
    """The kernels themselves read beyond its end."""
    assert kernel.fits(rows, columns) is fits


@pytest.mark.parametrize("n", [64, 128, 192])
def test_the_bytes_of_the_int4_kernel_are_read_back(n: int) -> None:
    if not layout_is_known():
        pytest.skip("this processor's int4 kernel has another layout, and is used at all counts")
    numbers = torch.randint(0, 16, (n, 64), dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers, 1)
    assert torch.equal(cpu.unpacked(packed).t().to(torch.int32), numbers)
