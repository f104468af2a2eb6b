"""Reads the tensors of weight files, one file after the other. Runs no code that lies in them.

A file is mapped into memory, not read, and let go before the next one is opened.
"""

import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ...errors import StartError
from ..checkpoint import ZIP_MAGIC
from .quantised import Named

FOREIGN = re.compile(r"GLOBAL (\S+)")  # torch's word for what a pickle wants to call


def tensors_in(files: Iterable[Path]) -> Iterator[Named]:
    """Every tensor by name, on the host; use it before the next one is asked for.

    Raises StartError for a file that cannot be read or holds anything else.
    """
    for file in files:
        with _in_one_sentence(file):
            yield from (_safe if file.suffix == ".safetensors" else _pickled)(file)


def _safe(file: Path) -> Iterator[Named]:
    opener: Any = safe_open  # not annotated
    with opener(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 (it is no dictionary)
            yield name, opened.get_tensor(name)


def _pickled(file: Path) -> Iterator[Named]:
    with file.open("rb") as opened:
        mapped = opened.read(len(ZIP_MAGIC)) == ZIP_MAGIC  # the format before 2020 cannot be
    found = torch.load(file, map_location="cpu", mmap=mapped, weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
        raise StartError(f"{file} holds something else than tensors by name")
    yield from found.items()


@contextmanager
def _in_one_sentence(file: Path) -> Iterator[None]:
    try:
        yield
    except (StartError, MemoryError):
        raise
    except pickle.UnpicklingError as exc:
        called = FOREIGN.search(str(exc))
        if called is None:
            raise StartError(f"{file} is damaged; fetch it again") from exc
        raise StartError(
            f"{file} wants to call {called[1]}, and code in a checkpoint is never run; "
            "take one that holds tensors alone"
        ) from exc
    except Exception as exc:
        said = (str(exc).splitlines() or [""])[0].partition(". ")[0]  # torch gives advice, too
        reason = said or type(exc).__name__
        raise StartError(f"{file} cannot be read: {reason}; fetch it again") from exc
