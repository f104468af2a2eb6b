"""The worker with --engine vllm as a process, around a fake vllm that is a process, too."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.checkpoints import lay_checkpoint
from support.fake_vllm import lay_vllm
from support.processes import SOON, Program, free_port, wait_for
from support.upstreams import TEXTS

from danlu.worker.__main__ import DEVICE_LOST

pytestmark = pytest.mark.slow

TESTS = str(Path(__file__).parents[2])


def a_worker(folder: Path, port: int, *flags: str, how: str = "") -> Program:
    model = folder / "cat-7b"
    if not model.exists():
        model.mkdir()
        lay_checkpoint(model)
    return Program.ours(
        "danlu.worker",
        *("--engine", "vllm", "--model-path", str(model), "--no-register"),
        *("--host", "127.0.0.1", "--port", str(port), *flags),
        env={"PATH": lay_vllm(folder), "PYTHONPATH": TESTS, "LOGDIR": "", "FAKE_VLLM": how},
    )


@contextmanager
def running(folder: Path, *flags: str, how: str = "") -> Iterator[tuple[Program, str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with a_worker(folder, port, *flags, how=how) as program:
        program.wait_until_answers(url + "/ready")
        yield program, url


def generated(url: str, prompt: str) -> dict[str, object]:
    body = {"model": "cat-7b", "prompt": prompt, "echo": False, "max_new_tokens": 9}
    answer = httpx.post(f"{url}/worker_generate", json=body, timeout=60, trust_env=False)
    frame: dict[str, object] = answer.json()
    return frame


def pid_in(output: str, what: str = "vllm") -> int:
    found = re.search(rf"{what} pid=(\d+)", output)
    assert found is not None, output
    return int(found[1])


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for has, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_model_is_served_by_a_vllm_of_its_own_which_ends_with_it(tmp_path: Path) -> None:
    flags = ("--context-length", "64", "--device", "npu", "--gpus", "1", "--dtype", "float16")
    with running(tmp_path, *flags, "--vllm-flags=--enforce-eager") as (program, url):
        assert generated(url, "Hi")["text"] == "".join(TEXTS)
        details = httpx.post(f"{url}/model_details", json={}, trust_env=False).json()
        assert details == {"context_length": 64}
        assert "cards=1" in program.output and "'--enforce-eager'" in program.output
        pid = pid_in(program.output)
        assert not gone(pid)
        assert program.stop() == 0
        assert gone(pid)


def test_vllm_ends_when_the_worker_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as (program, _):
        pid = pid_in(program.output)
        program.stop(signal.SIGKILL)
        wait_for(lambda: gone(pid), "vllm has ended, too", SOON)


def test_a_vllm_that_dies_ends_the_worker_as_a_lost_device_does(tmp_path: Path) -> None:
    with running(tmp_path, how="grandchild") as (program, url):
        assert generated(url, "DIE")["error_code"] == 50006
        assert program.wait_to_end() == DEVICE_LOST
        assert "vllm ended with status 9" in program.output
        assert "engine core died" in program.output
        left = pid_in(program.output, "grandchild")
        wait_for(lambda: gone(left), "what vllm started has ended, too", SOON)


def test_a_vllm_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    with a_worker(tmp_path, 0, how="fail") as program:
        assert program.wait_to_end() == 2
        said = program.output.splitlines()[-1]
        assert said.startswith("danlu-worker: vllm ended with status 1: ")
        assert said.endswith("ValueError: no kernel for this card")
        assert "Traceback" not in program.output


def test_a_stop_while_vllm_loads_ends_it(tmp_path: Path) -> None:
    port = free_port()
    with a_worker(tmp_path, port, how="hang") as program:
        program.wait_until(lambda: "50% Completed" in program.output, "it loads")
        program.wait_until(lambda: "45%" in loading(port), "its progress is told")
        pid = pid_in(program.output)
        assert program.stop() == 0
        wait_for(lambda: gone(pid), "vllm has ended, too", SOON)


def loading(port: int) -> str:
    answer = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=SOON, trust_env=False)
    assert answer.status_code == 503
    return answer.text


def test_without_a_vllm_it_is_said_where_it_comes_from(tmp_path: Path) -> None:
    program = a_worker(tmp_path, 0)
    (tmp_path / "vllm").unlink()
    with program:
        assert program.wait_to_end() == 2
        said = program.output.splitlines()[-1]
        assert "there is no `vllm` on PATH" in said
        assert "pip install vllm vllm-ascend" in said


def test_a_worker_in_front_of_vllm_loads_no_torch(tmp_path: Path) -> None:
    with running(tmp_path) as (program, _):
        assert program.process is not None
        maps = Path(f"/proc/{program.process.pid}/maps").read_text()
        assert "libtorch" not in maps and "aiohttp" in maps
        assert os.path.exists(f"/proc/{program.process.pid}")
