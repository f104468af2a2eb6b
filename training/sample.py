"""A tokenised sample, and what a row of them offers to the rest of the training. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Marks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence: `ids` int32 [tokens]; `trained` bool [tokens], whether that token is learned.

    A token is learned where it is to be predicted from those before it; the first never is.
    """

    ids: Ids
    trained: Marks


class Samples(Protocol):
    """All samples of a run, however they are kept. Reading one is cheap."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sample."""

    @property
    def digest(self) -> str:
        """Changes with their content and order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Listed:
    """Samples in memory."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = tuple(samples)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(sample.ids) for sample in self._samples], dtype=np.int64)

    @property
    def digest(self) -> str:
        import hashlib

        found = hashlib.sha256()
        for sample in self._samples:
            found.update(sample.ids.tobytes() + b"|" + sample.trained.tobytes() + b"|")
        return found.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]
