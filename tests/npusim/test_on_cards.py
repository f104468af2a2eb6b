"""Runs tests on simulated NPUs: a second pytest, in the environment that has them.

Those of `cards/`, once for each kind of machine, because torch_npu takes other ways with other
versions of CANN and other chips; and those of the worker that use a device, on one card while the
ledger is kept. Each test over there is a subtest here.
"""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.card import VARIABLE

from npusim.ledger import check_ended
from npusim.machine import of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CARDS = Path(__file__).with_name("cards")
WORKER = ROOT / "tests" / "worker"
PYTHON = ROOT / ".venv-npusim" / "bin" / "python"
PATIENCE = 1800  # seconds for all tests over there, beside another busy process
IN_ONE_PROCESS = (
    "test_machine.py",
    "test_operators.py",
    "test_devices.py",
    "test_worker.py",
    "test_chat.py",
    "test_faults.py",
)
# What shows that a test file of the worker's uses a device, and that it takes the one it is given.
USES = re.compile(
    r"^(import|from) torch\b|devices\.cpu|random_model|smollm2_dir|(tiny|glm)_(model|loaded)", re.M
)
ASKS = re.compile(r"^from support\.(card|devices) import", re.M)
# What says that it is about the host's processor, and nothing else.
OF_THE_HOST = re.compile(r"skipif\(card\(\) != HOST")


@dataclass(frozen=True, slots=True)
class Run:
    """One pytest over there. On the `card`, if one is named, all that touches a device must be."""

    machine: Mapping[str, str]
    files: Sequence[Path]
    card: int | None = None


def of_cards(*names: str) -> list[Path]:
    return [CARDS / name for name in names]


def of_the_worker() -> list[Path]:
    """The others never load torch, or its tokenizers only, or are the host's."""
    texts = {file: file.read_text() for file in sorted(WORKER.glob("test_*.py"))}
    return [file for file, text in texts.items() if ASKS.search(text) and not of_the_host(text)]


def of_the_host(text: str) -> bool:
    return OF_THE_HOST.search(text) is not None


CANN_8_2, CANN_8_3 = {"NPUSIM_CANN": "8.2.RC1"}, {"NPUSIM_CANN": "8.3.RC1"}
OLD = {**CANN_8_2, "NPUSIM_SOC": "Ascend310P3"}
RUNS = {
    "Ascend 910B4, CANN 8.2": Run(CANN_8_2, of_cards(*IN_ONE_PROCESS)),
    "Ascend 910B4, CANN 8.3": Run(CANN_8_3, of_cards(*IN_ONE_PROCESS)),
    "the stack, CANN 8.2": Run(CANN_8_2, of_cards("test_stack.py")),
    "the stack, CANN 8.3": Run(CANN_8_3, of_cards("test_stack.py", "test_full_card.py")),
    "two ranks, CANN 8.2": Run(CANN_8_2, of_cards("test_collectives.py")),
    "two ranks, CANN 8.3": Run(CANN_8_3, of_cards("test_collectives.py")),
    "fine-tuning, CANN 8.2": Run(CANN_8_2, of_cards("test_training.py")),
    "recordings, CANN 8.2": Run(CANN_8_2, of_cards("test_recording.py")),
    "recordings, CANN 8.3": Run(CANN_8_3, of_cards("test_recording.py")),
    "Ascend 310P3": Run(OLD, of_cards("test_310p.py")),
    # In two parts each, because a slow machine takes ten minutes for the whole.
    "the worker on card 1, CANN 8.2, part 1": Run(CANN_8_2, of_the_worker()[::2], 1),
    "the worker on card 1, CANN 8.2, part 2": Run(CANN_8_2, of_the_worker()[1::2], 1),
    "the worker on card 1, CANN 8.3, part 1": Run(CANN_8_3, of_the_worker()[::2], 1),
    "the worker on card 1, CANN 8.3, part 2": Run(CANN_8_3, of_the_worker()[1::2], 1),
    "the worker on card 0, CANN 8.2": Run(
        CANN_8_2,
        [WORKER / f"test_{name}.py" for name in ("thread_engine", "batching_engine", "own_code")],
        0,
    ),
}


def test_every_file_of_tests_is_run() -> None:
    run = {file for each in RUNS.values() for file in each.files}
    assert run >= set(CARDS.glob("test_*.py"))


def test_every_test_of_the_worker_that_uses_a_device_asks_which() -> None:
    """One that names the host's processor would prove nothing of a card: README.md says how."""
    texts = {file: file.read_text() for file in WORKER.glob("test_*.py")}
    using = {file for file, text in texts.items() if USES.search(text) and not of_the_host(text)}
    assert {file.name for file in using - set(of_the_worker())} == set()


@pytest.mark.skipif(shutil.which("g++") is None, reason="the simulated NPU needs g++ to be built")
@pytest.mark.timeout(PATIENCE + 60)
@pytest.mark.parametrize("name", RUNS)
def test_on_simulated_cards(name: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON} is missing: run scripts/test-needs", pytrace=False)
    run, report, states = RUNS[name], tmp_path / "report.xml", tmp_path / "states"
    states.mkdir()
    done = subprocess.run(
        [
            *(str(PYTHON), "-m", "pytest", "-q", f"--junit-xml={report}", "-p", "no:cacheprovider"),
            *map(str, run.files),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment(run, states)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert report.exists(), f"pytest over there ended with {done.returncode}:\n{_told(done)}"
    cases = list(ET.parse(report).iter("testcase"))
    assert cases, _told(done)
    for case in cases:
        with subtests.test(msg=f"{case.get('classname')}::{case.get('name')}"):
            _judge(case)
    assert done.returncode in (0, 1), _told(done)
    if run.card is not None:
        with subtests.test(msg="the ledgers of all processes"):
            check_ledgers(states, run.card)


def environment(run: Run, states: Path) -> dict[str, str]:
    if run.card is None:
        return dict(run.machine)
    kept = {"NPUSIM_MODE": "strict", "NPUSIM_STATE": str(states)}
    return {**run.machine, **kept, VARIABLE: f"npu:{run.card}"}


def check_ledgers(states: Path, card: int) -> None:
    machines = [of(states, int(file.name)) for file in states.iterdir()]
    assert any(machine.card[card].peak for machine in machines), "nobody touched the card"
    for machine in machines:
        check_ended(machine, card)


def _judge(case: ET.Element) -> None:
    for kind in ("failure", "error", "skipped"):
        for found in case.iter(kind):
            pytest.fail(f"{kind} over there:\n{found.text or found.get('message')}", pytrace=False)


def _told(done: "subprocess.CompletedProcess[str]") -> str:
    return f"{done.stdout}\n{done.stderr}"[-8000:]
