"""danlu's kernels as other processors have them, compiled for this one; without torch till then."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danlu.adapters.kernels.library import Library

from danlu.adapters.cache import cache_root, kept

HERE = "here"
CPUINFO = Path("/proc/cpuinfo")
AVX512 = Path(__file__).with_name("avx512.h")
WAYS = {  # of the compiler, to each
    "avx2": "-mno-avx512f",
    "avx512": f"-include '{AVX512}'",
    "avx512_bf16": f"-include '{AVX512}' -D MULTIPLIES_BFLOAT16=1",
}


def flags() -> set[str]:
    """What this processor can do, by Linux' names; nothing where the system does not tell."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def others(flags: Collection[str]) -> list[str]:
    """The processors that one with these flags can stand in for, itself left out."""
    if not {"avx2", "fma"} <= set(flags):
        return []
    own = "avx2"
    if "avx512f" in flags:
        own = "avx512_bf16" if "avx512_bf16" in flags else "avx512"
    return [kind for kind in WAYS if kind != own]


def library_of(kind: str, environ: Mapping[str, str]) -> "Library | None":
    """HERE's own, or another one's; compiled once, kept in the user's cache."""
    from danlu.adapters.kernels.library import library

    if kind == HERE:
        return library(environ)
    script = f'#!/bin/sh\nexec g++ {WAYS[kind]} "$@"\n'
    made_of = hashlib.sha256(script.encode() + AVX512.read_bytes()).hexdigest()[:16]
    name = f"compiler-{made_of}"
    compiler = kept(cache_root(environ), name, lambda at: _compiler(at, script), say=print)
    return library(environ, str(compiler / "g++"))


def _compiler(at: Path, script: str) -> Path:
    ready = at / "ready"
    ready.mkdir()
    (ready / "g++").write_text(script)
    (ready / "g++").chmod(0o755)
    return ready
