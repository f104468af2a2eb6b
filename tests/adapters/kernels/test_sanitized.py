"""No step of the library's reads or writes what is not its own, or does what C++ leaves open."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
# Behind the library's own flags, the last of which counts.
SANITIZERS = "-O0 -fsanitize=address,undefined -fno-sanitize-recover=all"
LIBRARIES = ("libasan.so", "libubsan.so")
PATIENCE = 600  # seconds


def in_memory() -> str:
    """The sanitizers' own libraries, which must be there first."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    names = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in LIBRARIES
    ]
    missing = [name for name in names if not Path(name).is_absolute()]
    if missing:
        pytest.skip(f"g++ has no {' and no '.join(missing)}")
    return " ".join(names)


@pytest.mark.slow
def test_random_steps_touch_nothing_but_their_own(tmp_path: Path) -> None:
    preloaded = in_memory()
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec g++ "$@" {SANITIZERS}\n')
    compiler.chmod(0o755)
    env = {
        "DANLU_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(TESTS),
        "OMP_NUM_THREADS": "1",
        "LD_PRELOAD": preloaded,
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "support.sanitized_steps", str(compiler)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-4000:]
