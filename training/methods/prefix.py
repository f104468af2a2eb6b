"""The prefix of P-Tuning v2: keys and values that every token of every layer sees before its own.

The formula is ChatGLM2's (its PrefixEncoder): numbers for each token of the prefix, straight from
an embedding or through two linear layers with tanh between them, then dropout.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from ...adapters.models.tuned.prefix import Shape

DROPOUT = 0.1  # the original's; no setting of it changes that


@dataclass(frozen=True, slots=True)
class Before:
    """Keys and values [rows, heads, length, size] of each layer."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


class PrefixEncoder(nn.Module):
    """`length` tokens for a model of `shape`, through `inner` channels if there are any.

    Its tensors are called as in the original.
    """

    def __init__(self, shape: Shape, length: int, inner: int | None) -> None:
        super().__init__()
        self.shape, self.length = shape, length
        self.embedding = nn.Embedding(length, shape.width)
        self.trans = None
        if inner is not None:
            self.trans = nn.Sequential(
                nn.Linear(shape.width, inner), nn.Tanh(), nn.Linear(inner, shape.width)
            )

    def forward(self, rows: int) -> Before:
        """For a batch of so many rows; each drops numbers of its own."""
        numbers: Tensor = self.embedding.weight
        if self.trans is not None:
            numbers = self.trans(numbers)
        shape = self.shape
        by_row = numbers.view(self.length, 2 * shape.layers, shape.heads, shape.size)
        by_row = dropout(by_row.expand(rows, -1, -1, -1, -1), DROPOUT, self.training)
        layers = by_row.permute(2, 0, 3, 1, 4)  # [2 * layers, rows, heads, length, size]
        return Before(layers[0::2].unbind(), layers[1::2].unbind())

    @torch.no_grad()
    def initialise(self, chance: torch.Generator) -> None:
        """As torch does, and so the original; drawn on the host."""
        numbers = self.embedding.weight
        numbers.copy_(torch.empty(numbers.shape).normal_(generator=chance))
        for layer in self.trans or ():
            if isinstance(layer, nn.Linear):
                bound = 1 / sqrt(layer.in_features)
                for weights in (layer.weight, layer.bias):
                    drawn = torch.empty(weights.shape)
                    weights.copy_(drawn.uniform_(-bound, bound, generator=chance))


def seen(mask: Tensor | None, ids: Tensor, length: int) -> Tensor:
    """What each token sees: bool [rows, 1, tokens, length + tokens], all of the prefix and `mask`,
    by which a token sees another, or those before it where there is none."""
    rows, tokens = ids.shape
    if mask is None:
        mask = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril()
    before = mask.new_ones(()).expand(rows, 1, tokens, length)
    return torch.cat((before, mask.expand(rows, 1, tokens, tokens)), dim=3)
