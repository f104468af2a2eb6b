"""Rules tokens out by the bitmasks of grammars."""

from collections.abc import Mapping

import torch
from torch import Tensor

BITS = 32  # of a word


def rule_out(scores: Tensor, masks: Mapping[int, Tensor]) -> None:
    """Take away from `scores` [rows, columns] what the masks, by row, do not allow.

    A mask is int32 [words]: bit j of word j // 32 lets token j come.
    """
    shifts = torch.arange(BITS, dtype=torch.int32, device=scores.device)
    for row, mask in masks.items():
        bits = (mask.unsqueeze(1) >> shifts).bitwise_and_(1).view(-1)[: scores.shape[1]]
        scores[row, : len(bits)].masked_fill_(bits == 0, -torch.inf)
