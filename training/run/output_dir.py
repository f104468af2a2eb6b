"""Whether output_dir can be a run's: nobody's work in it is ever overwritten unasked."""

import fcntl
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ...adapters.errors import StartError
from ..parallel.folders import checkpoints, is_whole, remove, sweep, to_resume
from ..settings import TrainingSettings
from .folder import RunFolder

log = logging.getLogger(__name__)

LOCK = ".lock"
MODELS = ("config.json", "adapter_config.json")


class OutputDir:
    """An output_dir that one training has for itself, to the end of a `with`."""

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def claim(self, settings: TrainingSettings) -> None:
        """Make it ready to go on in; raises StartError where that, or to begin, would harm."""
        out = Path(settings.output_dir)
        folder = RunFolder(out)
        _check(settings, out, folder)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            lock = self._held.enter_context((folder.path / LOCK).open("w"))
        except OSError as exc:
            raise StartError(f"cannot write to --output_dir {out}: {exc.strerror}") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another training runs in --output_dir {out}; name another") from None
        except OSError as exc:  # a file system without locks
            log.info("%s cannot be locked: %s", out, exc.strerror)
        sweep(out)

    def clear(self, settings: TrainingSettings) -> None:
        """Delete what an earlier run left, where that is asked for; its model goes when the new one
        is there. Raises StartError."""
        out = Path(settings.output_dir)
        if not settings.overwrite_output_dir:
            return
        try:
            for path in checkpoints(out):
                remove(path)
            for file in RunFolder(out).path.iterdir():
                if file.name != LOCK and file.is_file():
                    file.unlink()
        except OSError as exc:
            raise StartError(f"cannot delete {exc.filename}: {exc.strerror}") from exc


def _check(settings: TrainingSettings, out: Path, folder: RunFolder) -> None:
    if out.exists() and not out.is_dir():
        raise StartError(f"--output_dir {out} is a file; name a directory")
    if out.resolve() == Path(settings.model_name_or_path).resolve():
        raise StartError(f"--output_dir {out} is the model to start from; name another directory")
    _check_strangers(out, folder)
    _check_sources(settings, out)
    if not settings.overwrite_output_dir and (folder.path.exists() or checkpoints(out)):
        _check_earlier(settings, out, folder)


def _check_strangers(out: Path, folder: RunFolder) -> None:
    """Whatever the flags say: what no training here wrote is not ours to replace."""
    for path in out.glob("checkpoint-*"):
        if not is_whole(path):
            raise StartError(f"{path} was made by another program; name another --output_dir")
    ours = folder.path.exists() or checkpoints(out)
    for name in MODELS:
        if (out / name).exists() and not ours:
            raise StartError(
                f"--output_dir {out} holds a model ({name}) that no training here wrote; name "
                "another directory"
            )


def _check_earlier(settings: TrainingSettings, out: Path, folder: RunFolder) -> None:
    """A run that is over, or that is not to be gone on with, keeps its directory."""
    goes_on = settings.resume_from_checkpoint != "no" and checkpoints(out)
    if goes_on or not (checkpoints(out) or folder.summary.exists()):
        return
    raise StartError(
        f"--output_dir {out} holds an earlier run; name another directory, or begin anew in it "
        "with --overwrite_output_dir True"
    )


def _check_sources(settings: TrainingSettings, out: Path) -> None:
    """What it begins with, or goes on from, is there, and stays there."""
    wanted = settings.resume_from_checkpoint
    checkpoint = to_resume(wanted, out)
    sources = {"model_name_or_path": settings.model_name_or_path}
    if checkpoint is not None and wanted != "auto":
        sources["resume_from_checkpoint"] = wanted
    for name, path in sources.items():
        if settings.overwrite_output_dir and out.resolve() in Path(path).resolve().parents:
            raise StartError(
                f"--overwrite_output_dir True would delete --{name} {path}; name another "
                "--output_dir"
            )
