"""Layers compute by the library what torch computes, and each row for itself, to the bit."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn.functional import linear

from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import LINE, FewRowsLinear, few_rows, most_rows, takes, use

FORMATS = (torch.bfloat16, torch.float32)
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 4e-3}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def apart(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


@pytest.fixture(params=FORMATS, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    dtype: torch.dtype = request.param
    return dtype


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [1, 3, 64, 515])
@pytest.mark.parametrize("k", [32, 576])
def test_the_product_is_right(
    own_library: Library, dtype: torch.dtype, n: int, k: int, threads: int
) -> None:
    weight, bias = random(n, k, dtype=dtype), random(n, seed=1, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for m in (1, 2, 3, 4, 5, 8, 31):
            x = random(m, k, seed=m, dtype=dtype)
            exact = linear(x.double(), weight.double())
            assert apart(few_rows(own_library, x, weight), exact) < CLOSE[dtype]
            found = few_rows(own_library, x, weight, bias)
            assert apart(found, exact + bias.double()) < CLOSE[dtype]
    finally:
        torch.set_num_threads(before)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_row_is_the_same_alone_and_among_any_others(
    own_library: Library, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(FORMATS))
    weight = random(data.draw(st.integers(1, 130)), 96, dtype=dtype)
    alone = random(1, 96, seed=data.draw(st.integers(0, 99)), dtype=dtype)
    count = data.draw(st.integers(1, 40))
    loud = data.draw(st.sampled_from([0.0, 1.0, 1e30, float("nan")]))
    mates = random(count, 96, seed=7, dtype=dtype) * loud
    place = data.draw(st.integers(0, count - 1))
    mates[place] = alone[0]
    found = few_rows(own_library, mates, weight)[place]
    assert torch.equal(found, few_rows(own_library, alone, weight)[0])


def test_what_is_no_number_stays_none(own_library: Library, dtype: torch.dtype) -> None:
    x, weight = random(3, 64, dtype=dtype), random(20, 64, seed=1, dtype=dtype)
    x[1, 5] = float("nan")
    found = few_rows(own_library, x, weight)
    assert found[1].isnan().all() and not found[[0, 2]].isnan().any()


def test_rows_that_do_not_lie_together_are_taken_too(
    own_library: Library, dtype: torch.dtype
) -> None:
    x, weight = random(64, 5, dtype=dtype).t(), random(8, 64, seed=1, dtype=dtype)
    assert torch.equal(
        few_rows(own_library, x, weight), few_rows(own_library, x.contiguous(), weight)
    )


def test_weights_of_other_formats_sizes_and_places_are_left_to_torch(own_library: Library) -> None:
    assert takes(own_library, random(7, 64))
    assert not takes(own_library, random(7, 63))
    assert not takes(own_library, random(64, 7).t())
    assert not takes(own_library, random(7, 64).double())
    assert not takes(own_library, random(7, 64).half())
    assert not takes(own_library, torch.empty(7, 64, device="meta"))


def test_a_model_keeps_its_weights_and_takes_any_number_of_rows(own_library: Library) -> None:
    model = nn.Sequential(
        nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 8, bias=False), nn.Linear(8, 4)
    )
    before = {name: weight.data_ptr() for name, weight in model.state_dict().items()}
    few = most_rows(own_library, torch.float32)
    counts = [1, 7, few, few + 1, 300]
    with torch.inference_mode():
        expected = [model(random(count, 64)) for count in counts]
        use(own_library, model)
        found = [model(random(count, 64)) for count in counts]
    assert [type(layer).__name__ for layer in model] == [
        *("FewRowsLinear", "ReLU", "FewRowsLinear", "Linear")
    ]
    assert isinstance(model[0], FewRowsLinear)
    assert {name: weight.data_ptr() for name, weight in model.state_dict().items()} == before
    for one, other in zip(found, expected, strict=True):
        assert apart(one, other.double()) < 1e-5


def test_weights_come_to_lie_at_the_beginning_of_a_line(own_library: Library) -> None:
    """As from a file, and one that two layers share stays one."""
    odd = random(1 + 64 * 32)[1:].view(64, 32)
    first, second = nn.Linear(32, 64), nn.Linear(32, 64)
    first.weight = second.weight = nn.Parameter(odd, requires_grad=False)
    assert odd.data_ptr() % LINE
    use(own_library, nn.Sequential(first, second))
    assert first.weight.data_ptr() == second.weight.data_ptr()
    assert first.weight.data_ptr() % LINE == 0
    assert torch.equal(first.weight, odd)


def test_a_model_that_was_changed_since_is_torchs_again(own_library: Library) -> None:
    layer = nn.Linear(64, 8)
    model = nn.Sequential(layer)
    x = random(2, 64)
    use(own_library, model)
    with torch.inference_mode():
        model.double()
        assert model(x.double()).dtype == torch.float64
        with pytest.raises(RuntimeError, match="dtype"):
            model(x)
        model.float()
        layer.weight = nn.Parameter(random(64, 8).t(), requires_grad=False)
        assert torch.equal(model(x), linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("columns", [32, 128])
def test_rows_of_another_width_are_refused_as_torch_does(
    own_library: Library, columns: int
) -> None:
    layer = nn.Sequential(nn.Linear(64, 64))
    use(own_library, layer)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        layer(random(2, columns))


def test_a_batch_of_rows_keeps_its_shape(own_library: Library) -> None:
    layer = nn.Sequential(nn.Linear(32, 5))
    use(own_library, layer)
    with torch.inference_mode():
        assert layer(random(2, 3, 32)).shape == (2, 3, 5)
        assert layer(random(0, 32)).shape == (0, 5)
