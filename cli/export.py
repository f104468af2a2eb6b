"""`danlu export`: reads a model that we can serve and writes it as a directory for others."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..adapters.errors import StartError
from ..adapters.host import logs
from ..adapters.host.settings import knob, knob_of, settings_from
from ..worker.settings import WorkerSettings
from ..worker.showing import Shown

PREFIX = "DANLU_EXPORT_"


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Writes a model anew: for transformers without remote code, or as its authors publish it."""

    model_path: str = knob_of(WorkerSettings, "model_path")
    out: str = knob("", "the new directory to write; required")
    layout: str = knob(
        "native",
        "transformers' own, or the original one of ChatGLM2 and ChatGLM3",
        choices=("native", "original"),
    )
    dtype: str | None = knob(
        None,
        "number format of the weights; the model's own if not given",
        choices=("float32", "float16", "bfloat16"),
    )
    chatglm_generation: int | None = knob_of(WorkerSettings, "chatglm_generation")
    trust_remote_code: bool = knob_of(WorkerSettings, "trust_remote_code")


def main(argv: Sequence[str]) -> None:
    settings = settings_from(ExportSettings, argv, os.environ, PREFIX, prog="danlu export")
    if not settings.model_path or not settings.out:
        raise StartError("give --model-path DIR, the model, and --out DIR, where it shall go")
    logs.configure("export", level=logging.WARNING)
    out = Path(settings.out)
    _export(settings, out)
    print(f"{out} has the model in the {settings.layout} layout")


def _export(settings: ExportSettings, out: Path) -> None:
    """Imports torch."""
    shown = Shown(out.name, sys.stderr if sys.stderr.isatty() else None)
    try:
        from ..adapters.models.exporting import export_model
    except ImportError as exc:
        raise StartError(
            f"{exc.name} is not installed; the worker's packages come with danlu[worker]"
        ) from exc
    export_model(
        Path(settings.model_path),
        out,
        original=settings.layout == "original",
        dtype=settings.dtype,
        chatglm_generation=settings.chatglm_generation,
        trust_remote_code=settings.trust_remote_code,
        report=shown,
    )
