"""Where adapters lie: name=directory of a flag, and what a stranger may name. Reads no file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..adapters.errors import BadRequest, StartError, shown


def check_paths(given: Sequence[str], below: str) -> None:
    """Raises StartError for a name or a directory that cannot be meant."""
    names = set()
    for name, path in named_paths(given):
        if name in names:
            raise StartError(f"--adapters has {name!r} twice; each adapter needs its own name")
        names.add(name)
        if not path.is_dir():
            raise StartError(f"--adapters {name}={path}: that is no directory; name an adapter's")
    if below and not Path(below).is_dir():
        raise StartError(f"--adapter-dir {below!r} is no directory; name one that holds adapters")


def named_paths(given: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The pairs of `name=directory`; raises StartError."""
    for one in given:
        name, equals, path = one.partition("=")
        if not (name and equals and path):
            raise StartError(f"--adapters wants name=directory, not {one!r}")
        yield name.strip(), Path(path.strip())


def path_below(directory: str, path: str) -> Path:
    """A directory that a request names, which must lie below `directory`; raises BadRequest."""
    home = Path(directory).resolve()
    try:
        found = (home / path).resolve() if "\0" not in path else home
        there = found.is_dir()
    except (OSError, ValueError) as exc:  # a name that is too long, a directory that is closed
        raise BadRequest(f"{shown(path)!r} is no directory of an adapter", param="path") from exc
    if found == home or not found.is_relative_to(home):
        raise BadRequest(
            f"{shown(path)!r} does not lie below this worker's --adapter-dir", param="path"
        )
    if not there:
        raise BadRequest(f"{shown(path)!r} is no directory of an adapter", param="path")
    return found
