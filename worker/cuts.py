"""What top_k, top_p and min_p leave of many rows, each as transformers' warper leaves it.

A cut keeps the front of a row in falling order, so a head of some hundred tokens is all that has
to be sorted. Whether a row's cut lies within its head is known when it has been made.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .drawing import drawn, pick

HEADS = (64, 256, 4096)  # tokens; a nucleus of an ordinary distribution is well below 256
ROOM = 0.75  # of a head may be asked for by top_k: the rest is for equals of the last one
STRIDE = 16  # columns of so many tokens are looked through for a head's


@dataclass(frozen=True, slots=True)
class Limits:
    """The cuts of many rows, each [rows, 1]; what is off leaves everything.

    `top_k` is 0 where it is off. `rest` is 1 - top_p: the mass that may be cut off; -1 where it is
    off. `nuclear` says that some row has a top_p without a top_k, `least` that some has a min_p.
    """

    top_k: Tensor
    rest: Tensor
    min_p: Tensor
    nuclear: bool
    least: bool

    def of(self, rows: Tensor) -> "Limits":
        top_k, rest, min_p = (x.index_select(0, rows) for x in (self.top_k, self.rest, self.min_p))
        return Limits(top_k, rest, min_p, self.nuclear, self.least)


def head_size(top_k: int, width: int) -> int:
    """The head that a row is cut in first; `width` is all of it."""
    if top_k == 0:
        return min(HEADS[1], width)
    return next((size for size in HEADS if top_k <= ROOM * size and size < width), width)


def larger(size: int, width: int) -> list[int]:
    """The heads to try after one that did not hold the cut; the last is the whole row."""
    return [head for head in HEADS if size < head < width] + [width]


def drawn_from_head(
    scores: Tensor, limits: Limits, chances: Tensor, size: int, space: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A token of each row, and whether its cut reaches beyond the head, so that it does not hold.

    Both [rows]. A token that holds does not depend on `size`, which is above every top_k. `space`
    is a buffer like `scores`.
    """
    values, ids = top(scores, size)
    mass = None
    if limits.nuclear:  # the whole vocabulary's, where the most probable token's is 1
        mass = 1 / torch.softmax(scores, -1, out=space).gather(1, ids[:, :1])
    weights, beyond = kept(values, limits, mass)
    tokens = ids.gather(1, pick(weights, chances[:, :1])).squeeze(1)
    return tokens, beyond & (size < scores.shape[1])


def drawn_from_all(
    scores: Tensor, limits: Limits, chances: Tensor, space: Tensor | None = None
) -> Tensor:
    """A token of each row, where nothing but min_p cuts: [rows]. `space` is as above."""
    probabilities = torch.softmax(scores, -1, out=space)
    if limits.least:
        least = limits.min_p * probabilities.amax(-1, keepdim=True)
        probabilities.masked_fill_(probabilities < least, 0.0)
    return drawn(probabilities, chances)


def kept(values: Tensor, limits: Limits, mass: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weights of a falling head [rows, size], 1 for the first token, 0 for those that are cut
    off; and whether a cut would leave more tokens than these [rows].

    `mass` [rows, 1] is that of the whole row; None if each row has it in its head or has a top_k.
    """
    last = values.shape[1] - 1
    weights = (values - values[:, :1]).exp()
    at = torch.where(limits.top_k > 0, limits.top_k - 1, last).clamp(max=last)
    weights.masked_fill_(values < values.gather(1, at), 0.0)
    more = (limits.top_k > 0) & (weights[:, -1:] > 0)  # equals of the last one, which count too
    sums = weights.cumsum(-1)
    own = sums[:, -1:]
    whole = own if mass is None else torch.where(limits.top_k > 0, own, mass)
    before = torch.nn.functional.pad(sums[:, :-1], (1, 0))
    gone = whole - before <= limits.rest * whole
    gone[:, 0] = False
    weights.masked_fill_(gone | (weights < limits.min_p), 0.0)
    more = more | ((values <= values[:, -1:]) & (weights > 0))
    return weights, more.any(-1)


def top(scores: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The `size` highest of each row and their ids, falling; of equals the lower id first.

    So two heads of a row agree as far as they go. transformers leaves that to an unstable sort.
    """
    if size >= scores.shape[1]:
        values, ids = torch.sort(scores, dim=-1, descending=True, stable=True)
        return values, ids
    values, ids = _few(scores, size)
    ids, at = ids.sort(-1)
    values, at = torch.sort(values.gather(1, at), dim=-1, descending=True, stable=True)
    return values, ids.gather(1, at)


def _few(scores: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The `size` highest in any order: they lie in the `size` columns with the highest maxima."""
    rows, width = scores.shape
    count = width // STRIDE
    if 2 * size > count or width % STRIDE:
        return scores.topk(size, -1, sorted=False)
    columns = scores.view(rows, STRIDE, count)
    best = columns.amax(1).topk(size, -1, sorted=False).indices
    few = columns.gather(2, best.unsqueeze(1).expand(-1, STRIDE, -1)).flatten(1)
    values, at = few.topk(size, -1, sorted=False)
    row = torch.div(at, size, rounding_mode="floor")
    return values, row * count + best.gather(1, at - row * size)
