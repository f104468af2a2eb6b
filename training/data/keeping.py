"""Samples in the cache: those that are used stay, and those used last, up to a size."""

import fcntl
import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NAME = "samples-"  # and a digest: a folder of samples
MOST = 10 * 2**30  # bytes of samples that are kept for a next time


@dataclass(frozen=True, slots=True)
class Left:
    """A folder of samples: when it was used last, in seconds, and its bytes."""

    folder: Path
    used: float
    size: int


def too_many(left: Sequence[Left], most: int) -> list[Left]:
    """Those used longest ago: as many as have to go until the others have `most` bytes together."""
    going = []
    size = sum(one.size for one in left)
    for one in sorted(left, key=lambda one: one.used):
        if size <= most:
            break
        going.append(one)
        size -= one.size
    return going


class Hold:
    """As long as it lives nobody deletes the folder, where the file system has locks."""

    def __init__(self, lock: int | None) -> None:
        """`lock` is an open file, None where there can be none."""
        if lock is not None:
            weakref.finalize(self, os.close, lock)
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)


def hold(folder: Path) -> Hold | None:
    """Keep the folder, which counts as used now; None if somebody has deleted it before."""
    held = Hold(_opened(_lock(folder)))
    with suppress(OSError):
        os.utime(folder)
    return held if folder.is_dir() else None


def _opened(lock: Path) -> int | None:
    """Another user's cache may be swept by that user, and reading suffices for a lock."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with suppress(OSError):
            return os.open(lock, flags | os.O_CLOEXEC, 0o644)
    return None


def sweep(root: Path, most: int = MOST) -> list[Path]:
    """Delete what is too much of what lies below `root`, and what was never finished; the folders
    that are gone. What cannot be deleted stays."""
    with suppress(OSError):
        for state, lock in ((".making", ".lock"), (".going", ".used")):
            for folder in root.glob(f".{NAME}*{state}"):
                with _alone(folder.with_suffix(lock)) as nobody_is_at_it:
                    if nobody_is_at_it:
                        shutil.rmtree(folder, ignore_errors=True)
        return [one.folder for one in too_many(_left(root), most) if _delete(one.folder)]
    return []


def _left(root: Path) -> list[Left]:
    return [
        Left(folder, folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()))
        for folder in root.glob(f"{NAME}*")
    ]


def _delete(folder: Path) -> bool:
    """Whether it is gone. It gets another name first: a half of it must not be taken for it."""
    with suppress(OSError), _alone(_lock(folder)) as nobody_holds_it:
        if nobody_holds_it:
            going = folder.with_name(f".{folder.name}.going")
            folder.rename(going)
            shutil.rmtree(going, ignore_errors=True)
            return True
    return False


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.used")


@contextmanager
def _alone(file: Path) -> Iterator[bool]:
    """Whether nobody else locks the file; if so, nobody does until the block ends."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # somebody does; or there are no locks here, and nobody could say so
            yield False
        else:
            yield True
