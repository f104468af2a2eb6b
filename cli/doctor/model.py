"""Judges a checkpoint by its files, without torch and without reading the weights."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...adapters.errors import StartError
from ...adapters.models.chatglm.config import is_chatglm
from ...adapters.models.checkpoint import CONFIG, FORMATS, WEIGHTS, checkpoint_at, is_gguf
from .facts import Model

POINTER = b"version https://git-lfs"
POINTER_SIZE = 1024  # bytes; a pointer takes some 130


def model_at(path: str) -> Model:
    place = Path(path)
    problem = ""
    try:
        checkpoint_at(place)
    except (StartError, OSError) as exc:
        problem = str(exc)
    free = _free(place)
    if is_gguf(place):
        return Model(path, problem, "gguf", size=place.stat().st_size, disk_free=free)
    if not place.is_dir():
        return Model(path, problem, disk_free=free)
    config = _json(place / CONFIG)
    return Model(
        path=path,
        problem=problem,
        kind=_kind(config),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or ""),
        size=_size(place),
        declared=_declared(place),
        pointers=_pointers(place),
        disk_free=free,
    )


def _kind(config: Mapping[str, Any]) -> str:
    """The family; the three generations of ChatGLM call themselves the same."""
    kind = str(config.get("model_type", ""))
    if not is_chatglm(config):
        return kind
    first = "position_encoding_2d" in config or "inner_hidden_size" in config
    return "chatglm1" if first else "chatglm2"


def _size(place: Path) -> int:
    """Of one set of weights: many directories hold two."""
    sizes = [sum(f.stat().st_size for f in place.glob(pattern)) for pattern in WEIGHTS]
    return next((size for size in sizes if size), 0)


def _declared(place: Path) -> int:
    for stem, suffix in FORMATS:
        index = place / f"{stem}{suffix}.index.json"
        if index.is_file() and any(place.glob(f"*{suffix}")):
            size = _json(index).get("metadata", {})
            total = size.get("total_size", 0) if isinstance(size, dict) else 0
            return int(total) if isinstance(total, int | float) else 0
    return 0


def _pointers(place: Path) -> tuple[str, ...]:
    return tuple(sorted(file.name for file in place.iterdir() if _is_pointer(file)))


def _is_pointer(file: Path) -> bool:
    try:
        if not file.is_file() or file.stat().st_size > POINTER_SIZE:
            return False
        with file.open("rb") as opened:
            return opened.read(len(POINTER)) == POINTER
    except OSError:
        return False


def _free(place: Path) -> int:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return 0


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
