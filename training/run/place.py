"""Whether output_dir can be a run's: nobody's work in it is ever overwritten unasked."""

import shutil
from pathlib import Path

from ...adapters.errors import StartError
from ..parallel.folders import checkpoints, is_whole, sweep
from ..settings import TrainingSettings
from .folder import RunFolder

MODELS = ("config.json", "adapter_config.json")


def claim(settings: TrainingSettings) -> None:
    """Make output_dir ready to begin in, or to go on; raises StartError where that would harm."""
    out = Path(settings.output_dir)
    folder = RunFolder(out)
    if out.exists() and not out.is_dir():
        raise StartError(f"--output_dir {out} is a file; name a directory")
    if out.resolve() == Path(settings.model_name_or_path).resolve():
        raise StartError(f"--output_dir {out} is the model to start from; name another directory")
    _check_strangers(out, folder)
    if settings.overwrite_output_dir:
        _clear(out, folder)
    elif folder.path.exists() or checkpoints(out):
        _check_earlier(settings, out, folder)
    sweep(out)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StartError(f"cannot write to --output_dir {out}: {exc.strerror}") from exc


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


def _clear(out: Path, folder: RunFolder) -> None:
    """Of an earlier run; its model goes when the new one is there."""
    for path in checkpoints(out):
        shutil.rmtree(path)
    shutil.rmtree(folder.path, ignore_errors=True)
