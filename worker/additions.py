"""What LoRA adds to the outputs of linear layers: each adapter to those of its own tokens.

Few adapters in a step add one after the other, each for its tokens. Many do it at once: the
matrices of all that are loaded lie side by side, every token goes through all of them, and what is
not its own adapter's is blotted out in between: a few operations a layer, however many they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..adapters.models.tuned.adapter import Pair
from .adapter import Adapter

FEW = 2  # adapters in a step that add one after the other
NOBODY = -1  # the number of the adapter that a token of the base model has

Own = Mapping[Adapter, Sequence[int]]  # the tokens of a step that belong to each adapter
# With its tokens, one or another perhaps more than once; None for all there are.
Group = tuple[Adapter, Tensor | None]


class Mix:
    """Whose tokens are in the step that runs. Owned by the engine's thread."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.owners: Tensor | None = None  # [tokens, 1]: each one's adapter by number, where many
        self._others: dict[tuple[tuple[int, int], ...], Tensor] = {}

    @contextmanager
    def running(self, own: Own, there: Sequence[Tensor], count: int) -> Iterator[None]:
        """A step of `count` tokens runs; `there` is what `numbers` gave, on the device."""
        if len(own) > FEW:
            self.owners = there[0].unsqueeze(1)
        else:
            self.groups = grouped(own, there, count)
        try:
            yield
        finally:
            self.groups, self.owners, self._others = [], None, {}

    def others(self, layout: tuple[tuple[int, int], ...], columns: Tensor) -> Tensor:
        """[tokens, ranks]: true where a column is not of the token's own adapter. Most layers have
        the same layout."""
        if layout not in self._others:
            assert self.owners is not None, "many adapters have their owners told"
            self._others[layout] = self.owners != columns
        return self._others[layout]


class Addition:
    """What is added to one layer: a hook that is called after it."""

    def __init__(self, mix: Mix) -> None:
        self.pairs: dict[Adapter, Pair] = {}
        self._mix = mix
        self._numbers: dict[Adapter, int] = {}

    def put(self, adapter: Adapter, number: int, pair: Pair) -> None:
        pairs, numbers = {**self.pairs, adapter: pair}, {**self._numbers, adapter: number}
        self._side_by_side(pairs, numbers)

    def remove(self, adapter: Adapter) -> None:
        pairs = {other: pair for other, pair in self.pairs.items() if other is not adapter}
        self._side_by_side(pairs, self._numbers)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not self._mix.groups and self._mix.owners is None:
            return
        seen, rows = inputs[0].view(-1, inputs[0].shape[-1]), output.view(-1, output.shape[-1])
        if self._mix.owners is not None:
            inner = linear(seen, self._down)
            inner.masked_fill_(self._mix.others(self._layout, self._columns), 0)
            rows.add_(linear(inner, self._up))
        for adapter, tokens in self._mix.groups:
            pair = self.pairs.get(adapter)
            if pair is not None:
                _add(pair, tokens, seen, rows)

    def _side_by_side(self, pairs: Mapping[Adapter, Pair], numbers: Mapping[Adapter, int]) -> None:
        """The pairs become views of matrices that hold all of them."""
        self._numbers = {adapter: numbers[adapter] for adapter in pairs}
        ranks = [pair.down.shape[0] for pair in pairs.values()]
        self._layout = tuple(zip(self._numbers.values(), ranks, strict=True))
        if not pairs:
            self.pairs = {}
            return
        self._down = torch.cat([pair.down for pair in pairs.values()])
        self._up = torch.cat([pair.up for pair in pairs.values()], dim=1)
        columns = [number for number, rank in self._layout for _ in range(rank)]
        self._columns = torch.tensor(columns, device=self._down.device)
        downs, ups = torch.split(self._down, ranks), torch.split(self._up, ranks, dim=1)
        views = zip(downs, ups, strict=True)
        self.pairs = {
            adapter: Pair(down, up) for adapter, (down, up) in zip(pairs, views, strict=True)
        }


def numbers(own: Own, of: Mapping[Adapter, int], count: int) -> list[list[int]]:
    """What the device is to know of a step of `count` tokens: each adapter's tokens, or, of many,
    each token's adapter."""
    if len(own) <= FEW:
        return [list(tokens) for tokens in own.values()]
    owners = [NOBODY] * count
    for adapter, tokens in own.items():
        for token in tokens:
            owners[token] = of[adapter]
    return [owners]


def grouped(own: Own, there: Sequence[Tensor], count: int) -> list[Group]:
    """The groups of a step; `there` are the same tokens on the device."""
    everything = list(range(count))
    pairs = zip(own.items(), there, strict=True)
    return [(adapter, None if own == everything else moved) for (adapter, own), moved in pairs]


def _add(pair: Pair, tokens: Tensor | None, seen: Tensor, rows: Tensor) -> None:
    """Add to `rows` [tokens, out] in their place; who is not among `tokens` keeps every bit."""
    if tokens is None:
        rows.add_(linear(linear(seen, pair.down), pair.up))
    else:
        new = linear(linear(seen.index_select(0, tokens), pair.down), pair.up)
        rows.index_copy_(0, tokens, new.add_(rows.index_select(0, tokens)))
