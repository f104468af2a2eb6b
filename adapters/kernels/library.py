"""The native library: compiled for this processor when it is first asked for, kept in the cache."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..cache import cache_root, kept
from ..errors import StartError

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
SOURCES = ("decoder.cpp", "dense.cpp", "packed.cpp")
HEADERS = (
    *("blocks.h", "buffer.h", "dense.h", "formats.h", "integers.h", "linear.h", "many.h"),
    *("packed.h", "packed_bytes.h", "packed_words.h", "rows.h", "step.h"),
)
CPUINFO = Path("/proc/cpuinfo")
# Warnings of GCC 12 about its own headers for AVX-512 are left out.
COMPILE = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-w")
# Not -fopenmp here: with a second copy of OpenMP each one's threads would wait for the other's.
# What is missing is found in the one that torch has loaded.
LINK = ("-shared",)
PATIENCE = 300  # seconds
OUTPUT = "kernels.so"

POINTER, SIZE = ctypes.c_void_p, ctypes.c_int64


class Library:
    """The functions of the sources, on torch's threads."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be loaded here."""
        self._native = ctypes.CDLL(str(path))
        self.vector = int(self._native.danlu_vector())  # bytes
        self.few = int(self._native.danlu_few())  # tokens of a step whose products are of few rows
        self.bfloat16 = bool(self._native.danlu_multiplies_bfloat16())
        self.integers = bool(self._native.danlu_has_integers())

    def call(self, name: str, m: int, n: int, k: int, *tensors: Tensor | None) -> None:
        """y [m, n] of x [m, k]. Every tensor lies together in memory; the caller vouches for shapes
        and formats."""
        addresses = [None if one is None else POINTER(one.data_ptr()) for one in tensors]
        function = getattr(self._native, name)
        function(*addresses, SIZE(m), SIZE(n), SIZE(k), torch.get_num_threads())

    def step(self, name: str, model: ctypes.Structure, step: ctypes.Structure) -> None:
        """One step of a whole model; see `decoder.py`."""
        function = getattr(self._native, name)
        function(ctypes.byref(model), ctypes.byref(step), torch.get_num_threads())


def library(environ: Mapping[str, str], compiler: str = "g++") -> Library | None:
    """The library, made if the cache lacks it; None, and why in the log, where it cannot be."""
    try:
        name = f"kernels-{fingerprint(compiler)}"
        made = kept(cache_root(environ), name, lambda at: _compiled(at, compiler), say=log.info)
        return Library(made / OUTPUT)
    except (OSError, StartError, subprocess.SubprocessError) as exc:
        log.warning("torch's own kernels are used: %s", _reason(exc))
        return None


def fingerprint(compiler: str) -> str:
    """Changes with whatever the library is made of, and with the processor that it is made for."""
    digest = hashlib.sha256(repr((compiler, COMPILE, LINK, platform.machine())).encode())
    for file in (*SOURCES, *HEADERS):
        digest.update((HERE / file).read_bytes())
    for line in _processor():
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def _processor() -> Iterator[str]:
    """What it can do; nothing where the system does not tell."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:  # macOS
        return
    wanted = ("flags", "Features", "model name", "CPU part")
    yield from sorted({line for line in lines if line.startswith(wanted)})


def _compiled(at: Path, compiler: str) -> Path:
    found = shutil.which(compiler)
    if found is None:
        raise StartError(f"there is no {compiler}; install it for faster kernels")
    objects = [f"{name}.o" for name in SOURCES]
    for name, object_ in zip(SOURCES, objects, strict=True):
        _run(at, found, *COMPILE, "-c", str(HERE / name), "-o", object_)
    ready = at / "ready"
    ready.mkdir()
    _run(at, found, *LINK, *objects, "-o", str(ready / OUTPUT))
    return ready


def _run(at: Path, *command: str) -> None:
    done = subprocess.run(
        command,
        cwd=at,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "no reason")
        raise StartError(f"{Path(command[0]).name} failed: {first}")


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
