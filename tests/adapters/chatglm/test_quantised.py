"""int4 and int8 rows are read with their scales, and stand for numbers."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from support.tiny_glm import DESCRIBED

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.names import parts
from danlu.adapters.models.chatglm.quantised import Named, Weight, paired, unpacked
from danlu.adapters.models.weight_only.rows import Rows

TABLE = parts(DESCRIBED)
DENSE = "transformer.encoder.layers.0.self_attention.dense.weight"
NORM = "transformer.encoder.final_layernorm.weight"
ROWS = torch.tensor([[1, -2], [127, 0]], dtype=torch.int8)
SCALE = torch.tensor([0.5, 2.0], dtype=torch.float16)


def read(tensors: Iterable[Named], bits: int = 8) -> dict[str, Weight]:
    return dict(paired(tensors, TABLE, bits, Path("DIR")))


def dense(weight: Weight) -> list[list[float]]:
    assert isinstance(weight, Rows)
    found: list[list[float]] = weight.dense().tolist()
    return found


def test_a_byte_holds_an_even_column_above_an_odd_one_and_both_have_signs() -> None:
    pairs = torch.tensor([[0x7F, 0x18, -128]], dtype=torch.int8)
    assert unpacked(pairs).tolist() == [[7, -1, 1, -8, -8, 0]]


def test_all_pairs_of_columns_are_told_apart() -> None:
    columns = torch.cartesian_prod(torch.arange(-8, 8), torch.arange(-8, 8)).to(torch.int8)
    packed = (columns[:, :1] << 4) | (columns[:, 1:] & 15)
    assert torch.equal(unpacked(packed), columns)


@pytest.mark.parametrize("order", [1, -1])
def test_a_row_is_multiplied_with_its_scale_whichever_comes_first(order: int) -> None:
    pair = [(DENSE, ROWS), (DENSE + "_scale", SCALE)]
    found = read(pair[::order])
    assert found.keys() == {DENSE}
    assert dense(found[DENSE]) == [[0.5, -1.0], [254.0, 0.0]]


def test_four_bits_are_unpacked_first() -> None:
    packed = torch.tensor([[0x12], [-1]], dtype=torch.int8)
    found = read([(DENSE, packed), (DENSE + "_scale", SCALE)], bits=4)
    assert dense(found[DENSE]) == [[0.5, 1.0], [-2.0, -2.0]]


def test_what_is_not_quantised_passes_by() -> None:
    norm = torch.ones(3)
    assert read([(NORM, norm)])[NORM] is norm


@pytest.mark.parametrize(
    ("half", "other"), [((DENSE, ROWS), f"{DENSE}_scale"), ((f"{DENSE}_scale", SCALE), DENSE)]
)
def test_half_a_pair_is_refused(half: Named, other: str) -> None:
    with pytest.raises(StartError, match=f"^DIR has {half[0]} without {other}; "):
        read([half])


@pytest.mark.parametrize(
    ("weight", "scale"),
    [(ROWS.float(), SCALE), (ROWS, SCALE[:1]), (ROWS.flatten(), SCALE), (ROWS, SCALE[:, None])],
)
def test_a_pair_that_does_not_fit_is_refused(weight: torch.Tensor, scale: torch.Tensor) -> None:
    with pytest.raises(StartError, match=f"^DIR: {DENSE} is .* with a scale of .*=8 takes"):
        read([(DENSE, weight), (DENSE + "_scale", scale)])
