"""The user's cache: what takes a while to make is made once, whole or not at all.

It is made beside its place and put there by one rename, so that nothing half-made is ever taken
for it.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import StartError

Say = Callable[[str], None]
Make = Callable[[Path], Path]


def cache_root(environ: Mapping[str, str], home: Callable[[], Path] = Path.home) -> Path:
    """Where it lies: $DANLU_CACHE, else ~/.cache/danlu; StartError where that is nowhere."""
    given = environ.get("DANLU_CACHE", "")
    if given:
        return Path(given)
    try:
        return home() / ".cache" / "danlu"
    except RuntimeError as exc:  # a user of no name, without $HOME
        raise StartError("no home directory is known; name a folder with DANLU_CACHE") from exc


def kept(root: Path, name: str, make: Make, *, say: Say) -> Path:
    """The directory `name` below `root`, made if it is not there; StartError if that cannot be.

    `make` is given an empty directory to work in and returns what it finished inside of it.
    """
    ready = root / name
    if ready.is_dir():
        return ready
    with _only_one(root, name, say):
        if ready.is_dir():  # made by the one we waited for
            return ready
        making = root / f".{name}.making"
        shutil.rmtree(making, ignore_errors=True)  # of a run that was interrupted
        making.mkdir()
        try:
            make(making).rename(ready)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    say(f"{name} is in {ready}")
    return ready


@contextmanager
def _only_one(root: Path, name: str, say: Say) -> Iterator[None]:
    """Hold the lock of `name`; it falls with the process, however that ends."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / f".{name}.lock").open("w")
    except OSError as exc:
        raise StartError(
            f"the cache {root} cannot be written ({exc.strerror}); "
            "name another folder with DANLU_CACHE"
        ) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
