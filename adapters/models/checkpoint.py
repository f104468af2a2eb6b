"""What lies at a model's path, judged by its files alone: no torch, no weights read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StartError

CONFIG = "config.json"
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHTS = ("*.safetensors", "*.bin")
TOKENIZERS = (  # one of them is enough
    "tokenizer.json",
    "*.model",  # SentencePiece, under various names
    "vocab.json",
    "vocab.txt",
    "*.tiktoken",
)
GGUF_MAGIC = b"GGUF"
LENGTH = 8  # bytes that a safetensors file spends on the length of its header
LONGEST_HEADER = 100_000_000  # safetensors' own limit
# What loading reads of a config.json, and what it must be where it is there at all.
KINDS: dict[str, type] = {"model_type": str, "auto_map": dict, "architectures": list}
WANTED = "give the directory of a Hugging Face model, or a .gguf file"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as it lies on disk; `config` is its config.json, empty for a GGUF file."""

    path: Path
    gguf: bool
    config: dict[str, Any]


def checkpoint_at(path: Path) -> Checkpoint:
    """What can be loaded at `path`; raises StartError with what is missing or broken."""
    try:
        return _found(path)
    except OSError as exc:
        raise StartError(
            f"--model-path {str(path)!r} cannot be read: {exc.strerror}: {exc.filename!r}"
        ) from exc


def is_gguf(path: Path) -> bool:
    """Whether `path` is a file that starts as a GGUF does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def _found(path: Path) -> Checkpoint:
    if not path.exists():
        raise StartError(f"--model-path {str(path)!r} does not exist; {WANTED}")
    if not path.is_dir():
        if not is_gguf(path):
            raise StartError(f"--model-path {str(path)!r} is a file but no GGUF; {WANTED}")
        return Checkpoint(path, gguf=True, config={})
    config = _config(path)
    _check_weights(path)
    if not any(any(path.glob(name)) for name in TOKENIZERS):
        raise StartError(
            f"{path} has no tokenizer (tokenizer.json, tokenizer.model or vocab.json); "
            "copy it from where the weights came from"
        )
    return Checkpoint(path, gguf=False, config=config)


def _config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.is_file():
        ggufs = sorted(p.name for p in path.glob("*.gguf"))
        hint = f"it holds {ggufs[0]}: give that file" if ggufs else WANTED
        raise StartError(
            f"--model-path {str(path)!r} is no model directory: it has no {CONFIG}; {hint}"
        )
    config = _json(file)
    for name, kind in KINDS.items():
        value = config.get(name)
        if value is not None and not isinstance(value, kind):
            raise StartError(f"{file} is damaged: its {name!r} is {value!r}; fetch it again")
    if not config.get("model_type") and not config.get("auto_map"):
        raise StartError(f"{file} names no model_type; it is not a Hugging Face model's")
    return config


def _check_weights(path: Path) -> None:
    """Every file that the index names is there, and no safetensors file was cut short."""
    for name in INDEXES:
        if (path / name).is_file():
            for shard in _shards(path / name):
                if not (path / shard).is_file():
                    raise StartError(f"{path / shard} is missing, and {name} names it")
    if not any(any(path.glob(pattern)) for pattern in WEIGHTS):
        raise StartError(f"{path} has no weights: no {' and no '.join(WEIGHTS)} file is in it")
    for file in sorted(path.glob("*.safetensors")):
        _check_safetensors(file)


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    places = _json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(n, str) for n in places.values()):
        raise StartError(f"{index} names no files of weights; fetch it again")
    return sorted(set(places.values()))


def _check_safetensors(file: Path) -> None:
    """The header can be read, and the file is as long as it says."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH), "little")
        broken = size < LENGTH or length > min(size - LENGTH, LONGEST_HEADER)
        header = b"" if broken else opened.read(length)
    try:
        tensors = json.loads(header)
        ends = [t["data_offsets"][1] for n, t in tensors.items() if n != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise StartError(
            f"{file} is no safetensors file or a damaged one; fetch it again"
        ) from None
    wanted = LENGTH + length + max(ends, default=0)
    if size != wanted:
        raise StartError(f"{file} has {size} bytes instead of {wanted}; fetch it again")


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise StartError(f"{file} cannot be read as JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise StartError(f"{file} holds no JSON object")
    return content
