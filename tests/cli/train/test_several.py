"""torchrun's last word is a sentence, and only where the training said none."""

import signal
import subprocess
import sys

import pytest
from support.processes import START

from danlu.cli.train.launching import TORCHRUN
from danlu.cli.train.several import cores, status_of, threads


@pytest.mark.parametrize("status", [2, 130, 143])
def test_who_said_why_it_ends_is_not_talked_over(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(1, status) == status
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("ended", "status", "said"),
    [
        (-signal.SIGKILL, 137, "process 1 was ended by SIGKILL; the machine's memory may be too s"),
        (-signal.SIGSEGV, 139, "process 1 was ended by SIGSEGV\n"),
        (1, 1, "process 1 ended with status 1\n"),
    ],
)
def test_a_mute_end_is_told(
    ended: int, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(1, ended) == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("processes", "count"), [(1, 8), (2, 4), (3, 2), (9, 1)])
def test_each_process_has_its_part_of_the_cores(processes: int, count: int) -> None:
    assert threads([*TORCHRUN, f"--nproc-per-node={processes}", "-m", "x"], 8) == count
    assert cores() >= 1


@pytest.mark.slow
def test_torchruns_own_report_is_left_out() -> None:
    argv = [*TORCHRUN, "--nproc-per-node=2", "--no-python", "sh", "-c", "exit 7"]
    done = subprocess.run(
        [sys.executable, "-m", *argv], capture_output=True, text=True, timeout=START
    )
    assert done.returncode == 7
    (said,) = done.stderr.splitlines()
    assert said.startswith("danlu train: process ")
    assert said.endswith(" ended with status 7")
