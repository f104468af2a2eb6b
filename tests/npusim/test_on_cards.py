"""Runs the tests of `cards/` on simulated NPUs: a second pytest, in the environment that has them.

Once for each kind of machine, because torch_npu takes other ways with other versions of CANN and
other chips. Each test over there is a subtest here.
"""

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CARDS = Path(__file__).with_name("cards")
PYTHON = ROOT / ".venv-npusim" / "bin" / "python"
PATIENCE = 540  # seconds
IN_ONE_PROCESS = (
    "test_machine.py",
    "test_devices.py",
    "test_worker.py",
    "test_chat.py",
    "test_faults.py",
)
MACHINES: dict[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "Ascend 910B4, CANN 8.2": ({"NPUSIM_CANN": "8.2.RC1"}, IN_ONE_PROCESS),
    "Ascend 910B4, CANN 8.3": (
        {"NPUSIM_CANN": "8.3.RC1"},
        (*IN_ONE_PROCESS, "test_stack.py"),
    ),
    "Ascend 310P3": (
        {"NPUSIM_CANN": "8.2.RC1", "NPUSIM_SOC": "Ascend310P3"},
        ("test_310p.py",),
    ),
}


def test_every_file_of_tests_is_run() -> None:
    run = {name for _, names in MACHINES.values() for name in names}
    assert run == {file.name for file in CARDS.glob("test_*.py")}


@pytest.mark.skipif(shutil.which("g++") is None, reason="the simulated NPU needs g++ to be built")
@pytest.mark.parametrize("machine", MACHINES)
def test_on_simulated_cards(machine: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON} is missing: run scripts/test-needs", pytrace=False)
    environ, names = MACHINES[machine]
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [
            *(str(PYTHON), "-m", "pytest", "-q", f"--junit-xml={report}", "-p", "no:cacheprovider"),
            *("--timeout", str(PATIENCE), *(str(CARDS / name) for name in names)),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE + 30,
    )
    assert report.exists(), f"pytest over there ended with {done.returncode}:\n{_told(done)}"
    cases = list(ET.parse(report).iter("testcase"))
    assert cases, _told(done)
    for case in cases:
        with subtests.test(msg=f"{case.get('classname')}::{case.get('name')}"):
            _judge(case)
    assert done.returncode in (0, 1), _told(done)


def _judge(case: ET.Element) -> None:
    for kind in ("failure", "error", "skipped"):
        for found in case.iter(kind):
            pytest.fail(f"{kind} over there:\n{found.text or found.get('message')}", pytrace=False)


def _told(done: "subprocess.CompletedProcess[str]") -> str:
    return f"{done.stdout}\n{done.stderr}"[-8000:]
