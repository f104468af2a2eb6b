"""Who listens on danlu's ports: from /proc, as far as this user may read it."""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from .facts import Port

PORTS = (21001, 21002, 8000, 7860)  # of the controller, a worker, the API, the page
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENING = "0A"
ADDRESS, STATE, INODE = 1, 3, 9  # columns of these tables
LONGEST = 80  # characters of a command line


def listening_ports(ports: Iterable[int] = PORTS) -> tuple[Port, ...]:
    """Those of `ports` that cannot be taken any more, and by whom they are."""
    taken = [port for port in ports if not _free(port)]
    if not taken:
        return ()
    sockets = dict(_listening())
    owners = dict(_owners(set(sockets.values())))
    return tuple(Port(port, *owners.get(sockets.get(port, ""), ("?", 0))) for port in taken)


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True


def _listening() -> Iterator[tuple[int, str]]:
    """Port and inode of every listening socket."""
    for table in TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for parts in map(str.split, lines):
            if parts[STATE] == LISTENING:
                yield int(parts[ADDRESS].rpartition(":")[2], 16), parts[INODE]


def _owners(inodes: set[str]) -> Iterator[tuple[str, tuple[str, int]]]:
    """Inode, and command line and number of the process that holds it."""
    for process in Path("/proc").glob("[0-9]*"):
        held = inodes.intersection(_sockets(process))
        if held:
            owner = (_command(process), int(process.name))
            yield from ((inode, owner) for inode in held)


def _sockets(process: Path) -> Iterator[str]:
    """The inodes of a process' sockets; none of one that ended or belongs to somebody else."""
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return
    for link in links:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            yield os.readlink(link).removeprefix("socket:[").removesuffix("]")


def _command(process: Path) -> str:
    try:
        line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return "?"
    return _shown(line)


def _shown(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
