"""The worker program where a library finds no room: it starts again, once, and goes on."""

import os
import sys
from pathlib import Path

import pytest
from support.processes import Program, free_port
from support.starving import a_library, starving
from support.tiny import save_tiny

pytestmark = pytest.mark.slow

# Runs before the program, on its main thread: notes the signal at the death of its parent.
NOTE = """
import ctypes, os
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
with open({file!r}, "a") as file:
    file.write(f"{{os.getpid()}} {{signal.value}}\\n")
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def worker(model: Path, port: int, env: dict[str, str], *before: str) -> Program:
    where = ("--host", "127.0.0.1", "--port", str(port), "--no-register", "--device", "auto")
    argv = [sys.executable, "-m", "danlu.worker", "--model-path", str(model), *where]
    return Program([*before, *argv], env)


def test_the_worker_preloads_the_library_and_serves_on_the_same_port(
    model: Path, tmp_path: Path
) -> None:
    library, port = a_library(), free_port()
    with worker(model, port, starving(tmp_path, library)) as program:
        program.wait_until_answers(f"http://127.0.0.1:{port}/ready")
        told = [at for at in program.output.splitlines() if "starting again" in at]
        assert len(told) == 1
        assert (
            f"{library} finds no room (static TLS): starting again LD_PRELOAD={library}" in told[0]
        )
        assert "Traceback" not in program.output
        assert program.stop() == 0


def test_started_again_it_still_dies_with_its_supervisor(model: Path, tmp_path: Path) -> None:
    """`danlu up` ties its children to itself; the tie must hold in the second life, too."""
    lives = tmp_path / "lives"
    (tmp_path / "sitecustomize.py").write_text(NOTE.format(file=str(lives)))
    port = free_port()
    env = starving(tmp_path, a_library())
    tether = (sys.executable, "-m", "danlu.adapters.host.tether", str(os.getpid()))
    with worker(model, port, env, *tether) as program:
        program.wait_until_answers(f"http://127.0.0.1:{port}/ready")
        assert program.process is not None
        own = [at.split() for at in lives.read_text().splitlines()]
        signals = [signal for pid, signal in own if pid == str(program.process.pid)]
    assert signals == ["0", "9", "9"]  # the tether, the first life, the second


def test_a_library_that_preloading_does_not_help_ends_the_worker_after_the_second_try(
    model: Path, tmp_path: Path
) -> None:
    env = starving(tmp_path, a_library(), enough="never enough")
    with worker(model, free_port(), env) as program:
        assert program.wait_to_end() == 2
        assert program.output.count("starting again LD_PRELOAD=") == 1
        assert "was started again once; start it with `export LD_PRELOAD=" in program.output
        assert program.output.splitlines()[-1].startswith("danlu-worker: ")


def test_without_a_file_to_preload_the_worker_names_the_command(
    model: Path, tmp_path: Path
) -> None:
    env = starving(tmp_path, "/nowhere/libnosuch.so.1")
    with worker(model, free_port(), env) as program:
        assert program.wait_to_end() == 2
        assert "starting again LD_PRELOAD=" not in program.output
        assert "`find / -name 'libnosuch*.so*'`" in program.output.splitlines()[-1]
