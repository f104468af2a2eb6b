"""danlu's own kernels multiply by what was packed, and each row for itself, to the bit."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from danlu.adapters.kernels.library import Library
from danlu.adapters.models.weight_only import native
from danlu.adapters.models.weight_only.cpu import CPUInt4
from danlu.adapters.models.weight_only.kernel import Kernel, kernel_for
from danlu.adapters.models.weight_only.linear import packed_linear
from danlu.adapters.models.weight_only.native import NativeInt4, NativeInt8
from danlu.adapters.models.weight_only.rows import Rows, rounded

BFLOAT16 = torch.bfloat16
N, K = 80, 96
COUNTS = [1, 2, 3, 4, 5, 8, 70, native.DENSE_FROM - 1, native.DENSE_FROM, 300]
CLOSE = 3e-3  # what rounding the result to bfloat16 does


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def apart(found: Tensor, exact: Tensor) -> float:
    return float((found.to(torch.float32) - exact).norm() / exact.norm())


@pytest.fixture(autouse=True)
def _(own_library: Library) -> None:
    if not own_library.integers:
        pytest.skip("this processor multiplies no integers of 8 bits")


@pytest.fixture(params=[8, 4])
def kernel(own_library: Library, request: pytest.FixtureRequest) -> Kernel:
    return kernel_for("cpu", request.param, own_library)


def test_the_host_has_them_where_the_library_does(own_library: Library) -> None:
    assert isinstance(kernel_for("cpu", 8, own_library), NativeInt8)
    assert isinstance(kernel_for("cpu", 4, own_library), NativeInt4)
    assert isinstance(kernel_for("cpu", 4), CPUInt4)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("wide", [False, True])
def test_the_product_is_that_of_the_integers(kernel: Kernel, count: int, wide: bool) -> None:
    """`wide`: more numbers than one dense piece has, so that there are several."""
    n, k = (N, native.PIECE // 32) if wide else (N, K)
    rows = rounded(random(n, k), kernel.bits, BFLOAT16)
    x = random(count, k, seed=1).to(BFLOAT16)
    found = kernel.multiply(x, kernel.pack(rows, BFLOAT16))
    assert (found.dtype, found.shape) == (BFLOAT16, (count, n))
    assert apart(found, x.to(torch.float32) @ rows.dense().t()) < CLOSE


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_row_is_the_same_alone_and_among_any_others(
    own_library: Library, data: st.DataObject
) -> None:
    kernel = kernel_for("cpu", data.draw(st.sampled_from([4, 8])), own_library)
    packed = kernel.pack(rounded(random(N, K), kernel.bits, BFLOAT16), BFLOAT16)
    count = data.draw(st.integers(1, native.DENSE_FROM - 1))
    loud = data.draw(st.sampled_from([0.0, 1.0, 1e30, float("nan")]))
    alone = random(1, K, seed=data.draw(st.integers(0, 99))).to(BFLOAT16)
    mates = (random(count, K, seed=7) * loud).to(BFLOAT16)
    place = data.draw(st.integers(0, count - 1))
    mates[place] = alone[0]
    found = kernel.multiply(mates, packed)[place]
    assert torch.equal(found, kernel.multiply(alone, packed)[0])


@pytest.mark.parametrize("outlier", [1e2, 1e4])
def test_a_row_with_one_huge_number_is_as_exact_as_its_result_can_be(
    kernel: Kernel, outlier: float
) -> None:
    rows = rounded(random(N, 1024), kernel.bits, BFLOAT16)
    x = random(1, 1024, seed=1)
    x[0, 17] = outlier
    x = x.to(BFLOAT16)
    found = kernel.multiply(x, kernel.pack(rows, BFLOAT16))
    assert apart(found, x.to(torch.float32) @ rows.dense().t()) < CLOSE


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_makes_its_own_row_none(kernel: Kernel, wrong: float) -> None:
    packed = kernel.pack(rounded(random(N, K), kernel.bits, BFLOAT16), BFLOAT16)
    x = random(5, K, seed=1).to(BFLOAT16)
    x[2, 30] = wrong
    found = kernel.multiply(x, packed)
    assert found[2].isnan().all() and found[[0, 1, 3, 4]].isfinite().all()


@pytest.mark.parametrize("nothing", [0.0, 1e-36, 1e-40])
def test_a_row_of_nothing_or_next_to_it_gives_nothing(kernel: Kernel, nothing: float) -> None:
    """A next to nothing is one whose unit has no number to divide by."""
    packed = kernel.pack(rounded(random(N, K), kernel.bits, BFLOAT16), BFLOAT16)
    assert kernel.multiply(torch.full((1, K), nothing, dtype=BFLOAT16), packed).abs().max() == 0


@pytest.mark.parametrize(
    ("columns", "dtype"), [(K, torch.float32), (K // 2, BFLOAT16), (K, torch.uint8)]
)
def test_a_layer_refuses_rows_that_are_not_for_it(
    kernel: Kernel, columns: int, dtype: torch.dtype
) -> None:
    """Some models bring what they compute into the format of the next layer's weight."""
    layer = packed_linear(nn.Linear(K, N), random(N, K), kernel, BFLOAT16)
    with pytest.raises(TypeError, match=f"takes {K} columns of torch.bfloat16"):
        layer(torch.zeros(2, columns, dtype=dtype))


@pytest.mark.parametrize("groups", [1, 2])
def test_scales_of_longer_groups_are_taken_too(own_library: Library, groups: int) -> None:
    """A checkpoint of ChatGLM's in 4 bits has one for a whole row, and no offsets."""
    kernel = NativeInt4(own_library)
    integers = torch.randint(-8, 8, (32, 128), generator=torch.Generator().manual_seed(0))
    scale = (random(32, groups).abs() + 0.5).to(BFLOAT16)
    rows = Rows(4, integers.to(torch.int8), scale)
    for count in (1, native.DENSE_FROM):
        x = random(count, 128, seed=1).to(BFLOAT16)
        found = kernel.multiply(x, kernel.pack(rows, BFLOAT16))
        assert apart(found, x.to(torch.float32) @ rows.dense().t()) < CLOSE


@pytest.mark.parametrize(
    ("rows", "columns", "fits"),
    [(16, 32, True), (65024, 13696, True), (8, 32, False), (16, 48, False), (16, 65568, False)],
)
def test_a_weight_has_to_fit(kernel: Kernel, rows: int, columns: int, fits: bool) -> None:
    assert kernel.fits(rows, columns) is fits


def test_the_longest_row_there_may_be_does_not_overflow(kernel: Kernel) -> None:
    k = native.LONGEST
    rows = rounded(torch.ones(16, k), kernel.bits, BFLOAT16)
    found = kernel.multiply(torch.ones(1, k, dtype=BFLOAT16), kernel.pack(rows, BFLOAT16))
    assert apart(found, rows.dense().sum(1, keepdim=True).t()) < CLOSE
