"""The systemd units: their ExecStart lines run as written, and systemd's own opinion of them."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from support.processes import answers, free_port, wait_for
from support.units import PREFIX, UNITS, NotifySocket, Unit, variables

START = 180.0  # seconds for a model on a busy two-core machine
STOP = 60.0

SERVICES = {"danlu-controller.service", "danlu-worker@.service", "danlu-webui.service"}


@dataclass(frozen=True, slots=True)
class Service:
    """A unit's process and what systemd would have heard of it."""

    process: "subprocess.Popen[bytes]"
    socket: NotifySocket
    output: Path


@contextmanager
def started(place: Path, name: str, file: dict[str, str], instance: str = "") -> Iterator[Service]:
    """The unit's program, started as systemd would; it is killed if it has not ended."""
    place.mkdir()
    unit = Unit(name, place, instance)
    home = Path(unit.one("WorkingDirectory"))
    home.mkdir(parents=True)
    with NotifySocket(place / "notify") as notify, (place / "output").open("wb") as output:
        environment = unit.environment({**file, "NOTIFY_SOCKET": notify.path})
        with subprocess.Popen(
            unit.argv(environment),
            env={**environment, "OMP_NUM_THREADS": "1"},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                yield Service(process, notify, place / "output")
            finally:
                process.kill()


def end_in_peace(service: Service) -> None:
    """systemctl stop: SIGTERM, a word that it is stopping, status 0."""
    service.process.send_signal(signal.SIGTERM)
    service.socket.wait_for("STOPPING=1", STOP)
    assert service.process.wait(STOP) == 0, service.output.read_text(encoding="utf-8")


@pytest.fixture
def controller_file() -> dict[str, str]:
    return {
        "DANLU_CONTROLLER_HOST": "127.0.0.1",
        "DANLU_CONTROLLER_PORT": str(free_port()),
        "DANLU_CONTROLLER_API_HOST": "127.0.0.1",
        "DANLU_CONTROLLER_API_PORT": str(free_port()),
    }


@pytest.mark.slow
def test_the_three_units_make_a_stack_that_answers_and_ends_in_peace(
    tmp_path: Path, smollm2_dir: Path, controller_file: dict[str, str]
) -> None:
    registry = f"http://127.0.0.1:{controller_file['DANLU_CONTROLLER_PORT']}"
    api = f"http://127.0.0.1:{controller_file['DANLU_CONTROLLER_API_PORT']}"
    worker_file = {
        **variables(UNITS / "worker.env"),
        "MODEL_PATH": str(smollm2_dir),
        "DEVICE": "cpu",
        "PORT": str(free_port()),
        "WORKER_FLAGS": "--model-names small,tiny --limit-worker-concurrency 2",
        "DANLU_WORKER_CONTROLLER_ADDRESS": registry,
        "DANLU_WORKER_HOST": "127.0.0.1",
    }
    page = free_port()
    page_file = {
        "DANLU_WEBUI_CONTROLLER_URL": registry,
        "DANLU_WEBUI_HOST": "127.0.0.1",
        "DANLU_WEBUI_PORT": str(page),
    }
    with (
        started(tmp_path / "c", "danlu-controller.service", controller_file) as controller,
        started(tmp_path / "w", "danlu-worker@.service", worker_file, "0") as worker,
        started(tmp_path / "p", "danlu-webui.service", page_file) as webui,
    ):
        controller.socket.wait_for("READY=1", START)
        assert answers(f"{api}/health")
        worker.socket.wait_for("READY=1", START)
        webui.socket.wait_for("READY=1", START)
        assert answers(f"http://127.0.0.1:{page}/")
        wait_for(lambda: answers(f"{api}/ready"), "a model is served", START)
        body = {"model": "tiny", "prompt": "One, two,", "max_tokens": 2}
        answer = httpx.post(f"{api}/v1/completions", json=body, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        for service in (webui, worker, controller):
            end_in_peace(service)


@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_with_the_status_that_is_not_restarted(
    tmp_path: Path,
) -> None:
    file = {"MODEL_PATH": str(tmp_path / "missing"), "DEVICE": "cpu", "PORT": "0"}
    with started(tmp_path / "w", "danlu-worker@.service", file, "0") as worker:
        status = worker.process.wait(START)
        assert "missing' does not exist" in worker.output.read_text(encoding="utf-8")
    assert str(status) == Unit("danlu-worker@.service", tmp_path).one("RestartPreventExitStatus")


def test_a_workers_card_and_port_come_from_its_instance_unless_given(tmp_path: Path) -> None:
    unit = Unit("danlu-worker@.service", tmp_path, "3")
    file = variables(UNITS / "worker.env")
    assert unit.argv(unit.environment(file))[1:] == [
        *("--model-path", "/home/models/chatglm2-6b/"),
        *("--device", "npu:3"),
        *("--port", "21103"),
    ]
    given = unit.environment({**file, "DEVICE": "cpu", "PORT": "5", "WORKER_FLAGS": "--seed 1"})
    assert unit.argv(given)[-6:] == ["--device", "cpu", "--port", "5", "--seed", "1"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_unit_tells_when_it_is_ready_and_lets_answers_finish(name: str, tmp_path: Path) -> None:
    unit = Unit(name, tmp_path)
    assert unit.one("Type") == "notify"
    assert unit.one("Restart") == "on-failure"
    drain = 5 if "webui" in name else 30 + 5  # what the programs themselves allow
    assert int(unit.one("TimeoutStopSec")) > drain


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_unit_allows_more_connections_than_the_systems_1024(name: str, tmp_path: Path) -> None:
    assert int(Unit(name, tmp_path).one("LimitNOFILE")) > 1024


def test_no_variable_of_a_command_line_is_unset(tmp_path: Path) -> None:
    """systemd complains of one in the journal at every start."""
    for name in SERVICES:
        unit = Unit(name, tmp_path, "0")
        used = re.findall(r"\$\{?(\w+)", unit.one("ExecStart"))
        file = variables(UNITS / "worker.env") if "@" in name else {}
        assert unit.environment(file).keys() >= set(used)


def test_every_commented_variable_of_an_env_file_is_a_real_one() -> None:
    for file in ("controller", "worker", "webui"):
        names = re.findall(r"#(DANLU_\w+)=", (UNITS / f"{file}.env").read_text(encoding="utf-8"))
        argv = [sys.executable, "-m", f"danlu.{file}", "--help"]
        shown = subprocess.run(argv, capture_output=True, text=True, timeout=START).stdout
        assert names
        assert [name for name in names if name not in shown] == []


def test_the_readme_names_every_file_in_both_languages() -> None:
    english, chinese = (UNITS / "README.md").read_text(encoding="utf-8").split("## 中文")
    for file in ("danlu-controller", "danlu-worker@", "danlu-webui", "worker.env", "webui.env"):
        assert file in english
        assert file in chinese


def test_there_are_no_other_units() -> None:
    assert {path.name for path in UNITS.glob("*.service")} == SERVICES


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    for name in SERVICES:
        text = (UNITS / name).read_text(encoding="utf-8").replace(PREFIX, sys.prefix)
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = [str(tmp_path / name.replace("@", "@0")) for name in SERVICES]
    os.link(tmp_path / "danlu-worker@.service", tmp_path / "danlu-worker@0.service")
    argv = ["systemd-analyze", "verify", "--man=no", "--generators=no", *paths]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
