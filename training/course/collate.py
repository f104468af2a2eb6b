"""From samples to a batch: padded rows, or packed ones whose samples do not see each other."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..learner import IGNORED, Batch
from ..sample import Sample

Row = Sequence[Sample]
PADDING = 0  # any id will do: nothing that is learned sees it
NOTHING = 2  # tokens of a row that stands in where a process has none


def collate(rows: Sequence[Row], *, multiple: int = 1) -> Batch:
    """`rows` padded on the right to the longest one's length, rounded up to `multiple`.

    Without rows it is a short one with nothing to learn: a model that is sharded needs every
    process in every pass.
    """
    longest = max((sum(len(s.ids) for s in row) for row in rows), default=NOTHING)
    shape = (max(1, len(rows)), -(-longest // multiple) * multiple)
    ids = np.full(shape, PADDING, dtype=np.int64)
    labels = np.full(shape, IGNORED, dtype=np.int64)
    positions = np.tile(np.arange(shape[1]), (shape[0], 1))
    owner = np.zeros(shape, dtype=np.int64)  # of each token: its sample's number in the row
    for at, row in enumerate(rows):
        start = 0
        for number, sample in enumerate(row):
            here = slice(start, start + len(sample.ids))
            ids[at, here] = sample.ids
            labels[at, here] = _labels(sample)
            positions[at, start:] -= positions[at, start]
            owner[at, start:] = number
            start = here.stop
    several = any(len(row) > 1 for row in rows)
    mask = _each_its_own(owner) if several else None
    return Batch(torch.from_numpy(ids), torch.from_numpy(labels), torch.from_numpy(positions), mask)


def _labels(sample: Sample) -> NDArray[np.int64]:
    assert not sample.trained[0], "the first token has nothing before it to be told from"
    return np.where(sample.trained, sample.ids, IGNORED).astype(np.int64)


def _each_its_own(owner: NDArray[np.int64]) -> torch.Tensor:
    """Bool [rows, 1, tokens, tokens]: a token sees those before it, and itself, in its own sample.

    Padding counts to the row's last sample, which comes before it and does not see it.
    """
    same = torch.from_numpy(owner[:, None, :, None] == owner[:, None, None, :])
    return same.tril()
