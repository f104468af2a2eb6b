"""The run folder in output_dir: what was asked for, where it ran, and where its files lie."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...adapters.errors import StartError
from ..settings import TrainingSettings

NAME = "run"


class RunFolder:
    """`output_dir`/run. Owned by the first process."""

    def __init__(self, output_dir: Path) -> None:
        self.path = output_dir / NAME

    @property
    def settings(self) -> Path:
        return self.path / "settings.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def log(self) -> Path:
        """One JSON object a line: steps, evaluations, checkpoints."""
        return self.path / "log.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def begin(self, settings: TrainingSettings, command: str, facts: Mapping[str, Any]) -> None:
        """Write down what this run is; raises StartError for a folder that cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            written(self.settings, {"command": command, "settings": asdict(settings)})
            written(self.environment, facts)
        except OSError as exc:
            raise StartError(f"cannot write to {str(self.path)!r}: {exc.strerror}") from exc


def written(path: Path, what: Mapping[str, Any]) -> None:
    """A JSON file, whole at any time."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(what, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


def command_line(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """What starts the same training again, with as many processes; `argv` are its flags."""
    start = ["python"]
    if (nodes := _nodes(environ)) > 1:
        start = ["torchrun", f"--nnodes={nodes}", f"--nproc_per_node={environ['LOCAL_WORLD_SIZE']}"]
    elif int(environ.get("WORLD_SIZE", "1")) > 1:
        start = ["torchrun", f"--nproc_per_node={environ['WORLD_SIZE']}"]
    return shlex.join([*start, "-m", "danlu.training", *argv])


def _nodes(environ: Mapping[str, str]) -> int:
    here = int(environ.get("LOCAL_WORLD_SIZE", "0"))
    return int(environ.get("WORLD_SIZE", "1")) // here if here else 1
