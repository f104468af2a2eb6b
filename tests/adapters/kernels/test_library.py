"""The library is made once for a processor, and where it cannot be made, torch's kernels do it."""

import logging
import stat
from pathlib import Path

import pytest
from support.processors import flags, others

from danlu.adapters.kernels import library as module
from danlu.adapters.kernels.library import OUTPUT, Library, fingerprint, library


def compiler_at(directory: Path, script: str) -> str:
    path = directory / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def below(cache: Path) -> dict[str, str]:
    """A user whose cache is there."""
    return {"DANLU_CACHE": str(cache)}


@pytest.mark.slow
def test_it_is_made_once_and_found_again(tmp_path: Path) -> None:
    assert library(below(tmp_path)) is not None
    (made,) = (tmp_path / f"kernels-{fingerprint('g++')}").iterdir()
    first = made.stat().st_mtime_ns
    assert made.name == OUTPUT
    assert library(below(tmp_path)) is not None
    assert made.stat().st_mtime_ns == first


def test_without_a_compiler_there_is_none_and_the_log_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert library(below(tmp_path), "no-such-compiler") is None
    (said,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert said.endswith("there is no no-such-compiler; install it for faster kernels")


def test_a_compiler_that_fails_is_told_of_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = compiler_at(
        tmp_path, "echo 'x.cpp:1: error: what is this' >&2; echo more >&2; exit 1"
    )
    assert library(below(tmp_path / "cache"), failing) is None
    assert "compiler failed: x.cpp:1: error: what is this" in caplog.text
    assert "more" not in caplog.text


def test_what_cannot_be_loaded_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache that was carried to another machine, or a disk that was full."""
    directory = tmp_path / f"kernels-{fingerprint('g++')}"
    directory.mkdir()
    (directory / OUTPUT).write_bytes(b"no library")
    assert library(below(tmp_path)) is None
    assert "torch's own kernels are used" in caplog.text


def test_a_cache_that_cannot_be_written_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert library(below(tmp_path / "file" / "cache")) is None
    assert "DANLU_CACHE" in caplog.text


def test_another_compiler_makes_another_library() -> None:
    assert fingerprint("g++") == fingerprint("g++") != fingerprint("clang++")


def test_every_source_is_compiled() -> None:
    found = {file.name for file in module.HERE.iterdir() if file.suffix in (".cpp", ".h")}
    assert found == {*module.SOURCES, *module.HEADERS}


@pytest.mark.parametrize(
    ("own", "kinds"),
    [
        ("sse2 avx2", []),
        ("avx2 fma", ["avx512", "avx512_bf16"]),
        ("avx2 fma avx512f avx512_vnni", ["avx2", "avx512_bf16"]),
        ("avx2 fma avx512f avx512_bf16", ["avx2", "avx512"]),
    ],
)
def test_a_processor_stands_in_for_those_that_it_is_not(own: str, kinds: list[str]) -> None:
    assert others(own.split()) == kinds


@pytest.mark.slow
@pytest.mark.parametrize("own_library", others(flags()), indirect=True)
def test_another_processors_library_has_its_vectors(
    own_library: Library, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["own_library"]
    facts = {"avx2": (32, False), "avx512": (64, False), "avx512_bf16": (64, True)}
    assert (own_library.vector, own_library.bfloat16) == facts[kind]
    assert own_library.integers
