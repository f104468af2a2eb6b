"""Samples in files: written one by one, mapped into memory by every process."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ..sample import Sample

IDS, MARKS, ENDS, RECORDS, DIGEST = "ids", "trained", "ends", "records", "digest"


class Writer:
    """Appends samples to the files of a folder; a `with` closes them. Owned by one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._end = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        self._opened = ExitStack()  # closes all, even where a full disk lets one fail
        self._ids, self._marks, self._ends, self._records = (
            self._opened.enter_context((self._folder / name).open("wb"))
            for name in (IDS, MARKS, ENDS, RECORDS)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        (self._folder / DIGEST).write_text(self._digest.hexdigest()[:16], encoding="ascii")

    def add(self, sample: Sample, record: int) -> None:
        """`record` is the number of the record that the sample is from."""
        ids, marks = sample.ids.tobytes(), sample.trained.tobytes()
        self._end += len(sample.ids)
        self._ids.write(ids)
        self._marks.write(marks)
        _write(self._ends, self._end)
        _write(self._records, record)
        self._digest.update(ids + b"|" + marks + b"|")


class Stored:
    """Samples of a folder that a Writer has filled, mapped into memory.

    `records` int64 [samples] tells which are from the same record. `held` keeps the folder, and is
    let go of with the samples.
    """

    def __init__(self, folder: Path, held: object = None) -> None:
        self._held = held
        self._ids = np.memmap(folder / IDS, dtype=np.int32, mode="r")
        self._marks = np.memmap(folder / MARKS, dtype=np.bool_, mode="r")
        self._ends = np.fromfile(folder / ENDS, dtype=np.int64)
        self.records = np.fromfile(folder / RECORDS, dtype=np.int64)
        self.digest = (folder / DIGEST).read_text(encoding="ascii")

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self._ends, prepend=np.int64(0))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Sample:
        """Copies, so that whoever takes one may write into it."""
        index = range(len(self))[index]
        end = self._ends[index]
        start = self._ends[index - 1] if index else 0
        return Sample(np.array(self._ids[start:end]), np.array(self._marks[start:end]))


def _write(file: BinaryIO, number: int) -> None:
    file.write(number.to_bytes(8, "little"))
