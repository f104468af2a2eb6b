"""Which samples are kept for evaluation. Pure: chance is a seed."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from ...adapters.errors import StartError
from ..sample import Sample, Samples


class Chosen:
    """Some of the samples: those at `indices`, int64 [samples], in that order."""

    def __init__(self, samples: Samples, indices: NDArray[np.int64]) -> None:
        self._samples = samples
        self._indices = indices

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self._samples.lengths[self._indices]

    @property
    def digest(self) -> str:
        content = self._samples.digest.encode() + self._indices.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[int(self._indices[index])]


def split(
    samples: Samples, share: float, seed: int, *, records: NDArray[np.int64] | None = None
) -> tuple[Samples, Samples]:
    """Samples to train on, and about `share` of them to evaluate on; the same for the same seed.

    Those of one record stay together, where `records` int64 [samples] tells which these are: a
    conversation must not be tested on that was trained on. Raises StartError where the share leaves
    either side without a sample.
    """
    if share == 0:
        return samples, Chosen(samples, np.zeros(0, dtype=np.int64))
    of = np.arange(len(samples)) if records is None else records
    apart = np.unique(of)
    count = round(len(apart) * share)
    if not 0 < count < len(apart):
        raise StartError(
            f"--eval-share {share} keeps {count} of {len(apart)} records for evaluation; "
            "both it and the training need at least one"
        )
    kept = np.random.default_rng(seed).permutation(apart)[:count]
    evaluated = np.isin(of, kept)
    return (
        Chosen(samples, np.flatnonzero(~evaluated)),
        Chosen(samples, np.flatnonzero(evaluated)),
    )
