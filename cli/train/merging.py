"""`danlu train merge`: adds a LoRA to its model's weights and writes the sum as a model."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...adapters.errors import StartError
from ...adapters.host import logs
from ...adapters.host.settings import knob, knob_of, settings_from
from ...worker.settings import WorkerSettings
from ...worker.showing import Shown
from ..export import ExportSettings

PREFIX = "DANLU_TRAIN_MERGE_"


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """Writes a model with a LoRA in its weights, for programs that know no adapters."""

    model_path: str = knob_of(WorkerSettings, "model_path")
    adapter: str = knob("", "directory of the LoRA; required", aliases=("--adapter-path",))
    out: str = knob_of(ExportSettings, "out")
    layout: str = knob_of(ExportSettings, "layout")
    dtype: str | None = knob_of(ExportSettings, "dtype")
    chatglm_generation: int | None = knob_of(WorkerSettings, "chatglm_generation")
    trust_remote_code: bool = knob_of(WorkerSettings, "trust_remote_code")


def main(argv: Sequence[str]) -> None:
    settings = settings_from(
        MergeSettings, argv, os.environ, PREFIX, prog="danlu train merge", as_transformers=True
    )
    if not (settings.model_path and settings.adapter and settings.out):
        raise StartError("give --model-path DIR, --adapter DIR, and --out DIR, where it shall go")
    logs.configure("train", level=logging.WARNING)
    _merge(settings)
    print(f"{settings.out} has the model with {settings.adapter} in it")


def _merge(settings: MergeSettings) -> None:
    """Imports torch."""
    from ...training.methods.merging import merge

    merge(
        Path(settings.model_path),
        Path(settings.adapter),
        Path(settings.out),
        layout=settings.layout,
        dtype=settings.dtype,
        chatglm_generation=settings.chatglm_generation,
        trust_remote_code=settings.trust_remote_code,
        report=Shown(Path(settings.out).name, sys.stderr if sys.stderr.isatty() else None),
    )
