"""Finds tokens in rows of numbers: the highest one, or one by chance. Knows no parameters.

Rows are looked at in two levels, blocks and then the tokens of one block: that is several times
faster than one look at a whole vocabulary, and sums of float32 stay accurate. No function here
waits for the device, and none fails on what is not a number: it finds some token then.
"""

import torch
from torch import Tensor

BLOCK = 128  # tokens; divides the vocabularies of ChatGLM2 (65024) and Qwen (151936)


def padded_width(vocabulary: int) -> int:
    """Whole blocks, and at least one column that is no token."""
    return (vocabulary // BLOCK + 1) * BLOCK


def padded(logits: Tensor, into: Tensor) -> Tensor:
    """[rows, vocabulary] as float32 in whole blocks, [rows, width]; what is no token has -inf."""
    vocabulary = logits.shape[1]
    into[:, :vocabulary] = logits
    into[:, vocabulary:] = -torch.inf
    return into


def in_blocks(logits: Tensor) -> bool:
    """Whether `highest` can read them as they are."""
    whole = logits.shape[1] % BLOCK == 0 and logits.stride(1) == 1
    return whole and logits.dtype == torch.float32


def highest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of each row of [rows, whole blocks], and the first id that has it: two [rows].

    NaN is above everything.
    """
    blocks = scores.view(len(scores), -1, BLOCK)
    peaks = blocks.amax(-1)
    block = peaks.argmax(-1, keepdim=True)
    place = _block(blocks, block).argmax(-1)
    return peaks.gather(1, block).squeeze(1), block.squeeze(1) * BLOCK + place


def pick(weights: Tensor, chance: Tensor) -> Tensor:
    """A place in each row of [rows, n], as probable as its weight: [rows, 1].

    `chance` is [rows, 1] in [0, 1). A place without weight is never picked, whatever the order is
    in which a device adds.
    """
    sums = weights.cumsum(-1)
    places = torch.arange(weights.shape[1], device=weights.device, dtype=torch.int32)
    possible = weights > 0
    last = torch.where(possible, places, 0).amax(-1, keepdim=True)
    reached = possible & (sums > chance * sums[:, -1:])
    return torch.where(reached, places, last).amin(-1, keepdim=True).long()


def drawn(probabilities: Tensor, chances: Tensor) -> Tensor:
    """A token of each row of [rows, whole blocks] by two chances each, [rows, 2]: [rows]."""
    blocks = probabilities.view(len(probabilities), -1, BLOCK)
    block = pick(blocks.sum(-1), chances[:, :1])
    place = pick(_block(blocks, block), chances[:, 1:])
    return (block * BLOCK + place).squeeze(1)


def _block(blocks: Tensor, which: Tensor) -> Tensor:
    """One block of each row: [rows, BLOCK]."""
    return blocks.gather(1, which.unsqueeze(-1).expand(-1, -1, BLOCK)).squeeze(1)
