"""Multiplies by a weight that is made dense piece by piece, so that a piece stays in the cache."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import linear


def by_pieces(x: Tensor, n: int, pieces: Iterator[Tensor]) -> Tensor:
    """x [m, k] by the pieces [some, k], n rows together: [m, n]."""
    found = x.new_empty((len(x), n))
    start = 0
    for piece in pieces:
        end = start + len(piece)
        found[:, start:end] = linear(x, piece)
        start = end
    return found
