"""The checkpoints of a run as they lie in its folder: which are whole, which is the latest.

A checkpoint is written under a hidden name and renamed when it is whole; before it is deleted it
gets a hidden name again. So what has a checkpoint's name is whole, whenever the program was ended.
"""

import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from ...adapters.errors import StartError

NAME = re.compile(r"checkpoint-(\d+)")
# What is written into one in the making is itself made beside it: its name is hidden twice.
HIDDEN = re.compile(r"\.?\.(checkpoint-\d+|final)\.(making|going)(\.making)?")
STATE = "training"  # what in a checkpoint only a training reads
PROGRESS = "progress.json"  # in STATE
# Of these one, if any, tells a worker what the directory is; it is removed first and put last.
ANNOUNCING = ("config.json", "adapter_config.json")
# A model's or an adapter's, whole or in pieces; what else is called so is the user's own.
WEIGHTS = re.compile(
    r"(model|pytorch_model|adapter_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
)


def name_of(step: int) -> str:
    return f"checkpoint-{step}"


def hidden(path: Path, why: str) -> Path:
    """The name beside it that it has while it is `making` or `going`."""
    return path.with_name(f".{path.name}.{why}")


def checkpoints(run: Path) -> list[Path]:
    """The whole ones in the folder `run`, in the order of their steps."""
    found = [path for path in run.glob("checkpoint-*") if NAME.fullmatch(path.name)]
    return sorted((path for path in found if is_whole(path)), key=step_of)


def is_whole(path: Path) -> bool:
    return (path / STATE / PROGRESS).is_file()


def step_of(path: Path) -> int:
    named = NAME.fullmatch(path.name)
    assert named is not None
    return int(named[1])


def latest(run: Path) -> Path | None:
    return next(iter(reversed(checkpoints(run))), None)


def to_resume(wanted: str, run: Path) -> Path | None:
    """Where to go on from: "auto" is the latest of `run`, "no" nothing, else it is a directory.

    Raises StartError for one that is no whole checkpoint.
    """
    if wanted == "no":
        return None
    if wanted == "auto":
        return latest(run)
    path = Path(wanted)
    if not is_whole(path):
        there = ", ".join(each.name for each in checkpoints(run)) or "none"
        raise StartError(
            f"--resume_from_checkpoint {wanted} is no checkpoint of a training: it has no "
            f"{STATE}/{PROGRESS}; in {run} there are {there}"
        )
    return path


def outdated(steps: Sequence[int], limit: int, best: int | None = None) -> list[int]:
    """Which of the checkpoints to delete so that `limit` are left, 0 for all; in order.

    The latest stays, to go on from, and so does `best`; that these are two wins over a limit of 1.
    """
    kept: Collection[int] = sorted(steps)[-1:] if limit else steps
    if best is not None and best in steps:
        kept = {*kept, best}
    for step in sorted(steps, reverse=True):
        if len(kept) < limit:
            kept = {*kept, step}
    return [step for step in sorted(steps) if step not in kept]


def remove(path: Path) -> None:
    """Delete the checkpoint at `path`, which has not its name while it is not whole."""
    going = hidden(path, "going")
    shutil.rmtree(going, ignore_errors=True)
    path.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def sweep(run: Path) -> None:
    """Delete what was in the making, or being deleted, when a training in `run` was ended."""
    for path in run.glob(".*"):
        if HIDDEN.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def put(made: Path, out: Path) -> None:
    """Move the files of the directory `made` to `out`, in place of a model that was there.

    Other files of `out` stay. Ended midway it leaves a directory that nobody takes for a model.
    """
    for old in [*(out / name for name in ANNOUNCING), *out.iterdir()]:
        if old.name in ANNOUNCING or (WEIGHTS.fullmatch(old.name) and old.is_file()):
            old.unlink(missing_ok=True)
    for file in sorted(made.iterdir(), key=lambda file: file.name in ANNOUNCING):
        there = out / file.name
        if file.is_dir() and there.is_dir():  # a tokenizer's further templates lie in one
            shutil.rmtree(there)
        file.rename(there)
    made.rmdir()
