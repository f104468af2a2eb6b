"""Small programs that behave as told, and a `Show` that remembers what it was shown.

A program `P` writes its deeds as lines "P starts" into the file `deeds`, and is ready once the file
`P.ready` is there. Ways to behave: serves, deaf (to SIGTERM), crashes, cannot (start), loads
(for ever), once (is ready the first time only), breaks (serves the first time, then cannot start).
"""

import sys
from pathlib import Path

from danlu.cli.readiness import Readiness
from danlu.cli.supervisor import Program

SCRIPT = """
import os, pathlib, signal, sys, time
name, place, how = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]

def did(deed):
    with (place / "deeds").open("a") as deeds:
        deeds.write(f"{name} {deed}\\n")

def end(*_):
    did("ends")
    sys.exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "deaf" else end)
again = (place / f"{name}.pid").exists()
did("starts")
print(f"{name} says hello", flush=True)
if how == "crashes":
    sys.exit(1)
if how == "cannot" or (how == "breaks" and again):
    print(f"danlu-{name}: there is no such model", flush=True)
    sys.exit(2)
(place / f"{name}.pid").write_text(str(os.getpid()))
if how in ("serves", "deaf", "breaks") or (how == "once" and not again):
    (place / f"{name}.ready").touch()
while True:
    time.sleep(60)
"""


def a_program(place: Path, name: str, how: str = "serves", needs: tuple[str, ...] = ()) -> Program:
    argv = (sys.executable, "-c", SCRIPT, name, str(place), how)
    return Program(name, argv, str(place / f"{name}.ready"), needs)


def deeds(place: Path) -> list[str]:
    path = place / "deeds"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def pid_of(place: Path, name: str) -> int:
    return int((place / f"{name}.pid").read_text(encoding="utf-8"))


async def look_for_file(url: str) -> Readiness:
    return Readiness(Path(url).exists())


class Shown:
    """Everything that was shown, as lines "name: text"."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, program: str, text: str) -> None:
        self.lines.append(f"{program}: {text}")

    def note(self, text: str) -> None:
        self.lines.append(f"danlu: {text}")

    def loading(self, program: str, fraction: float, detail: str) -> None:
        self.lines.append(f"{program}: {fraction:.0%} {detail}")

    def settled(self, program: str) -> None:
        self.lines.append(f"{program}: settled")
