"""The operators of an engine with a static cache and a batched sampler, against the host's own.

A card's are the host's kernels on the card's bytes, so results are the same to the bit; attention
goes another way through torch, in parts, and is the same but for rounding.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from npusim.cards.workers import bound
from torch import Tensor

CARDS = pytest.mark.parametrize("card", [0, 1])
FORMATS = (torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int32, torch.int64)

Operator = Callable[..., Any]


def put(cache: Tensor, rows: Tensor, places: Tensor, new: Tensor) -> Tensor:
    cache[rows, :, places] = new
    return cache


def written(cache: Tensor, new: Tensor) -> Tensor:
    cache.narrow(2, 3, 2).copy_(new)
    cache[1:3, :, :2].zero_()
    return cache


def made(x: Tensor) -> list[Tensor]:
    how: Any = {"dtype": x.dtype, "device": x.device}
    made = [torch.zeros(2, 64, 8, **how), torch.full((3,), 7, **how), torch.ones(2, **how)]
    return [*made, torch.empty(3, **how).fill_(2), x.new_zeros(3), torch.zeros_like(x)]


# name: the operator and what it takes; "x" is (4, 8), "cache" (4, 2, 16, 8), "bits" int32.
OF_NUMBERS: dict[str, tuple[Operator, tuple[str, ...]]] = {
    "a row of each sequence into the cache": (put, ("cache", "rows", "places", "entries")),
    "index_put_": (lambda x, i, new: x.index_put_((i,), new), ("x", "rows", "two")),
    "index_copy_": (lambda c, i, new: c.index_copy_(2, i, new), ("cache", "rows", "chunk")),
    "index_select": (lambda x, i: x.index_select(0, i), ("x", "rows")),
    "index_add_": (lambda x, i, new: x.index_add_(0, i, new), ("x", "rows", "two")),
    "index_fill_": (lambda x, i: x.index_fill_(-1, i, -torch.inf), ("x", "rows")),
    "narrow and slice are views": (written, ("cache", "chunk")),
    "scatter": (lambda x, i, new: x.scatter(1, i, new), ("x", "picks", "picked")),
    "scatter_ of a number": (lambda x, i: x.scatter_(1, i, 1.0), ("x", "picks")),
    "scatter_add_": (lambda x, i, new: x.scatter_add_(1, i, new), ("x", "picks", "picked")),
    "gather": (lambda x, i: x.gather(1, i), ("x", "picks")),
    "masked_fill": (lambda x, m: x.masked_fill(m, -torch.inf), ("x", "mask")),
    "where": (lambda x, m: torch.where(m, x, -torch.inf), ("x", "mask")),
    "a mask as index": (lambda x, m: x[m], ("x", "mask")),
    "topk": (lambda x: x.topk(3), ("x",)),
    "sort": (lambda x: x.sort(descending=True, stable=True), ("x",)),
    "cumsum": (lambda x: x.cumsum(-1), ("x",)),
    "searchsorted": (lambda x, y: torch.searchsorted(x.sort(-1).values, y), ("x", "two_each")),
    "argmax": (lambda x: x.argmax(-1), ("x",)),
    "max": (lambda x: (x.max(-1), x.amax(0), x.max()), ("x",)),
    "softmax": (lambda x: (x.softmax(-1), x.log_softmax(-1), x.logsumexp(-1)), ("x",)),
    "softmax in float32": (lambda x: x.softmax(-1, dtype=torch.float32), ("x",)),
    "embedding": (lambda x, i: F.embedding(i, x), ("x", "rows")),
    "linear": (lambda x, w: F.linear(x, w), ("x", "two")),
    "matmul into a buffer": (lambda x, y, o: torch.mm(x, y.T, out=o), ("x", "x", "square")),
    "rms_norm": (lambda x: F.rms_norm(x, (8,), None, 1e-5), ("x",)),
    "silu, halves": (lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1], ("x",)),
    "rotary": (lambda x: torch.stack((x[:, ::2].cos(), -x[:, 1::2].sin()), -1).flatten(1), ("x",)),
    "repeat_interleave": (lambda c: c.repeat_interleave(2, dim=1), ("cache",)),
    "expand": (lambda x: x[:, None].expand(4, 3, 8).reshape(12, 8), ("x",)),
    "cat": (lambda x, y: torch.cat([x, y], 0), ("x", "two")),
    "buffers": (made, ("x",)),
    "to another format": (lambda x: (x.float(), x.int(), x.bfloat16()), ("x",)),
    "is it a number": (lambda x: ((x / 0).isnan(), x.isfinite().all(), x.isinf().any()), ("x",)),
}
OF_BITS: dict[str, Operator] = {
    "shifts": lambda bits: (bits >> 3, bits << 3, bits.clone().__ilshift__(1)),
    "shifts by a tensor": lambda bits: ((bits[..., None] >> torch.arange(32).to(bits)) & 1).bool(),
    "and, or, xor, not": lambda bits: (bits & bits.T, bits | 1, bits ^ 5, ~bits),
    "comparisons": lambda bits: (bits < bits.T, bits == bits.T, bits.clamp(0, 9)),
    "arithmetic": lambda bits: (bits + 1, bits * 3, bits // 7, bits % 7, bits.cumsum(-1)),
    "assignment": lambda bits: bits.index_put_((bits[0] % 4,), bits.new_ones(4, 4)),
    "counts": lambda bits: (bits % 5).flatten().bincount(minlength=5),
    "places": lambda bits: ((bits > 0).nonzero(), (bits > 0).cumsum(-1), (bits > 0).sum()),
}


def taken(dtype: torch.dtype) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(1)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=dice).to(dtype)

    return {
        "x": some(4, 8),
        "cache": some(4, 2, 16, 8),
        "rows": torch.tensor([3, 1]),
        "places": torch.tensor([15, 0]),
        "entries": some(2, 2, 8),
        "chunk": some(4, 2, 2, 8),
        "two": some(2, 8),
        "two_each": some(4, 2),
        "square": some(4, 4),
        "picks": torch.tensor([[1, 7], [0, 3], [2, 5], [6, 4]]),
        "picked": some(4, 2),
        "mask": torch.rand((4, 8), generator=dice) > 0.5,
    }


def check(card: int, operator: Operator, given: list[Tensor], within: float = 0.0) -> None:
    """The card says what the host says: formats, shapes and numbers."""
    device = f"npu:{card}"
    wanted = flat(operator(*[x.clone() for x in given]))
    found = bound(card, lambda: flat(operator(*[x.to(device) for x in given])))
    assert {str(x.device) for x in found} == {device}
    home = bound(card, lambda: [x.cpu() for x in found])
    torch.testing.assert_close(home, wanted, rtol=within, atol=within, equal_nan=True)


def flat(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [x for part in result for x in flat(part)]


@CARDS
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_operators_of_numbers(name: str, card: int) -> None:
    operator, names = OF_NUMBERS[name]
    for dtype in FORMATS:
        given = taken(dtype)
        check(card, operator, [given[each] for each in names])


@CARDS
@pytest.mark.parametrize("name", OF_BITS)
def test_operators_of_bits(name: str, card: int) -> None:
    for dtype in INTEGERS:
        dice = torch.Generator().manual_seed(2)
        bits = torch.randint(-(2**31), 2**31, (4, 4), generator=dice).to(dtype)
        check(card, OF_BITS[name], [bits])


def test_a_card_has_no_float64_and_takes_float32_without_an_error() -> None:
    """torch_npu's own doing: token ids that pass through numbers stay below 2 ** 24."""
    found = bound(1, lambda: torch.ones(2, device="npu:1").double())
    assert found.dtype == torch.float32


@CARDS
@pytest.mark.parametrize("dtype", FORMATS)
def test_attention_with_a_boolean_mask_over_grouped_heads(dtype: torch.dtype, card: int) -> None:
    """Over a cache of which each sequence has filled another part."""
    dice = torch.Generator().manual_seed(3)
    query, key, value = (
        torch.randn(shape, generator=dice).to(dtype)
        for shape in ((3, 4, 1, 8), (3, 2, 16, 8), (3, 2, 16, 8))
    )
    mask = torch.arange(16) < torch.tensor([1, 9, 16])[:, None, None, None]

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)

    check(card, attend, [query, key, value, mask], within=2 * torch.finfo(dtype).eps)
