"""A new directory, which is there whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StartError


def check_new(out: Path) -> None:
    """Nothing is at `out`, or an empty directory; raises StartError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StartError(f"{out} exists and is not empty; name a new directory")


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A place beside `out` to write to, which becomes `out` if the block ends well.

    Raises StartError if something is at `out` already, or cannot be written.
    """
    check_new(out)
    making = out.parent / f".{out.name}.making"
    try:
        making.mkdir(parents=True)
        try:
            yield making
            making.rename(out)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except (OSError, RuntimeError) as exc:  # torch's writer raises the latter
        reason = (str(exc).splitlines() or [""])[0]
        raise StartError(f"{out} cannot be written: {reason}") from exc
