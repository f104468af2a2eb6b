"""What lies at a model's path, judged by its files alone: no torch, no weights read."""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StartError
from .chatglm.config import is_chatglm

CONFIG = "config.json"
FORMATS = (("model", ".safetensors"), ("pytorch_model", ".bin"))  # the first that is there is read
NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")  # one of several files, and of how many
WEIGHTS = ("*.safetensors", "*.bin")
TOKENIZERS = (  # one of them is enough
    "tokenizer.json",
    "*.model",  # SentencePiece, under various names
    "vocab.json",
    "vocab.txt",
    "*.tiktoken",
)
GGUF_MAGIC = b"GGUF"
ZIP_MAGIC = b"PK\x03\x04"  # torch has written zip files since 2020
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
    config = read_json(file)
    for name, kind in KINDS.items():
        value = config.get(name)
        if value is not None and not isinstance(value, kind):
            raise StartError(f"{file} is damaged: its {name!r} is {value!r}; fetch it again")
    named = config.get("model_type") or config.get("auto_map") or is_chatglm(config)
    if not named:
        raise StartError(f"{file} names no model_type; it is not a Hugging Face model's")
    return config


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights, under their usual names; empty where none is there.

    Those that the index names, else a single file, else numbered ones. Raises StartError if one is
    missing.
    """
    for stem, suffix in FORMATS:
        index, single = path / f"{stem}{suffix}.index.json", path / f"{stem}{suffix}"
        if index.is_file():
            return _indexed(index)
        if single.is_file():
            return [single]
        numbered = sorted(path.glob(f"{stem}-*-of-*{suffix}"))
        if numbered:
            return _whole(numbered)
    return []


def _indexed(index: Path) -> list[Path]:
    named = read_json(index).get("weight_map")
    if (
        not isinstance(named, dict)
        or not named
        or not all(isinstance(n, str) for n in named.values())
    ):
        raise StartError(f"{index} names no files of weights; fetch it again")
    files = [index.parent / shard for shard in sorted(set(named.values()))]
    for file in files:
        if not file.is_file():
            raise StartError(f"{file} is missing, and {index.name} names it")
    return files


def _whole(files: list[Path]) -> list[Path]:
    """Numbered files, none of them missing."""
    for missing in _missing(files):
        raise StartError(f"{missing} is missing, and {files[0].name} is one of its number")
    return files


def _missing(files: list[Path]) -> Iterator[Path]:
    first = NUMBERED.fullmatch(files[0].name)
    if first is None:
        return
    stem, _, count, suffix = first.groups()
    for number in range(1, int(count) + 1):
        wanted = files[0].parent / f"{stem}-{number:05}-of-{count}{suffix}"
        if wanted not in files:
            yield wanted


def _check_weights(path: Path) -> None:
    """All files are there, and none was cut short."""
    files = weight_files(path)
    if not files and not any(any(path.glob(pattern)) for pattern in WEIGHTS):
        raise StartError(f"{path} has no weights: no {' and no '.join(WEIGHTS)} file is in it")
    for file in sorted({*files, *path.glob("*.safetensors")}):
        if file.suffix == ".safetensors":
            _check_safetensors(file)
        else:
            _check_zip(file)


def _check_zip(file: Path) -> None:
    """A file that starts as torch's do has the list of contents, which is at its end."""
    with file.open("rb") as opened:
        begins = opened.read(len(ZIP_MAGIC))
    if len(begins) < len(ZIP_MAGIC) or (begins == ZIP_MAGIC and not zipfile.is_zipfile(file)):
        raise StartError(f"{file} was cut short; fetch it again")


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


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise StartError(f"{file} cannot be read as JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise StartError(f"{file} holds no JSON object")
    return content
