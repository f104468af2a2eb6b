"""Cures "cannot allocate memory in static TLS block": starts again with the library preloaded.

Some libraries, libgomp above all, keep thread-local variables in room that the loader sets aside
when a program starts. One that an import brings in later may find none left; one that is named in
LD_PRELOAD comes first and finds it. Imports no torch.
"""

import glob
import logging
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import StartError

log = logging.getLogger(__name__)

MARK = "DANLU_PRELOADED"  # set in the environment of a program that was started again
WORDS = "cannot allocate memory in static TLS block"
STARVED = re.compile(rf"(?P<file>(?:/[^:\n]*/)?[\w.+-]+\.so[\w.-]*): {WORDS}")
STEM = re.compile(r"lib[A-Za-z_]+")

Execute = Callable[[str, list[str], Mapping[str, str]], Any]


def cure(
    exc: BaseException, *, environ: Mapping[str, str] | None = None, execute: Execute = os.execve
) -> StartError | None:
    """Start this program again, once, if `exc` comes from a library without room.

    Returns None if it does not, and an error where starting again cannot help. Call it on the main
    thread: what the kernel keeps for a program across its exec, such as the signal at its parent's
    death, belongs to that one.
    """
    library = next(filter(None, map(starved, said_by(exc))), None)
    if library is None:
        return None
    environ = os.environ if environ is None else environ
    preload = line(library, environ)
    if preload is None or MARK in environ:
        return StartError(why_not(library, preload))
    log.warning("%s finds no room (static TLS): starting again LD_PRELOAD=%s", library, preload)
    logging.shutdown()
    sys.stdout.flush()
    again = {**environ, "LD_PRELOAD": preload, MARK: library}
    execute(sys.executable, [sys.executable, *sys.orig_argv[1:]], again)
    return None


def starved(text: str) -> str | None:
    """The library, as the loader names it, that found no room; None for any other error."""
    found = STARVED.search(text)
    return found["file"] if found else None


def said_by(exc: BaseException) -> Iterator[str]:
    """What an exception and those that led to it say; the innermost words may be the telling ones.

    transformers and torch wrap an ImportError in errors of their own.
    """
    seen: set[int] = set()
    cause: BaseException | None = exc
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield str(cause)
        cause = cause.__cause__ or cause.__context__


def line(library: str, environ: Mapping[str, str]) -> str | None:
    """The value of LD_PRELOAD that gives `library` its room, None if no such file is here."""
    torch = find_spec("torch")  # finds it, imports nothing
    patterns = places(
        library,
        machine=platform.machine(),
        prefixes=[sys.prefix, environ.get("CONDA_PREFIX", "")],
        torch=str(Path(torch.origin).parent) if torch and torch.origin else "",
    )
    files = [file for pattern in patterns for file in sorted(glob.glob(pattern))]
    return choose(files, environ.get("LD_PRELOAD", ""))


def places(library: str, *, machine: str, prefixes: Sequence[str], torch: str) -> list[str]:
    """Patterns of the files that may be `library`, the likeliest first.

    First the very file that found no room; then torch's own copies, conda's, the system's: once
    a library of that name is loaded, the loader takes no other.
    """
    stem = STEM.match(Path(library).name)
    name = glob.escape(stem[0] if stem else Path(library).name)
    own = [glob.escape(f"{torch}.libs"), glob.escape(f"{torch}/lib")] if torch else []
    folders = [
        *(f"{folder}/{name}*.so*" for folder in own),
        *(f"{glob.escape(prefix)}/lib/{name}.so*" for prefix in prefixes if prefix),
        *(
            f"{folder}/{name}.so*"
            for folder in (
                f"/lib/{machine}-linux-gnu",
                f"/usr/lib/{machine}-linux-gnu",
                "/usr/lib64",
                "/lib64",
                "/usr/lib",
                "/usr/local/lib",
            )
        ),
    ]
    return [glob.escape(library), *folders] if "/" in library else folders


def choose(files: Sequence[str], preloaded: str) -> str | None:
    """LD_PRELOAD with the first of `files` that it can carry and does not have yet."""
    had = [part for part in re.split(r"[ :]", preloaded) if part]
    for file in files:
        if file not in had and not re.search(r"[\s:]", file):  # its separators
            return ":".join([file, *had])
    return None


def why_not(library: str, preload: str | None) -> str:
    """The sentence where starting again cannot help: nothing to preload, or it did not suffice."""
    name = Path(library).name
    if preload is None:
        stem = STEM.match(name)
        return (
            f"{library} finds no room (static TLS) and no copy of it can be preloaded; find one "
            f"with `find / -name '{stem[0] if stem else name}*.so*'` and start with "
            "`export LD_PRELOAD=FILE`"
        )
    return (
        f"{library} finds no room (static TLS), although this program was started again once; "
        f"start it with `export LD_PRELOAD={preload}`"
    )
