"""`danlu up`, really started, with a real model: the stack from one command to its end."""

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from support.processes import STOP, Program, free_port, wait_for
from support.upstreams import MODEL, TEXTS, an_upstream

from danlu.cli.stack import UpSettings
from danlu.cli.up import announcement

pytestmark = pytest.mark.slow

HOSTS = ("--host", "127.0.0.1")
FRANCE = "What is the capital of France?"
LOOPBACK = UpSettings(host="127.0.0.1")


@dataclass(frozen=True, slots=True)
class Ports:
    """Four free ones."""

    page: int
    api: int
    controller: int
    worker: int

    def flags(self) -> tuple[str, ...]:
        return (
            *("--port", str(self.page), "--api-port", str(self.api)),
            *("--controller-port", str(self.controller), "--worker-port", str(self.worker)),
        )


@pytest.fixture
def ports() -> Ports:
    return Ports(free_port(), free_port(), free_port(), free_port())


@pytest.fixture
def up(ports: Ports, smollm2_dir: Path) -> Iterator[Program]:
    """A stack that serves the small model as `small`, and says so."""
    worker = ("--device", "cpu", "--model-names", "small")
    flags = ("up", "--model-path", str(smollm2_dir), *HOSTS, *ports.flags(), *worker)
    with Program.ours("danlu.cli", *flags) as program:
        program.wait_until(lambda: "small is served" in program.output, "the stack is served")
        yield program


def processes_of(ports: Ports) -> dict[str, int]:
    """The stack's programs that run now: name to process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        mine = {str(ports.page), str(ports.controller), str(ports.worker)} & set(argv)
        if mine and argv[1] == "-m" and argv[2] != "danlu.cli":
            found[argv[2]] = int(entry.name)
    return found


def ask(ports: Ports, question: str = FRANCE, model: str = "small") -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
    }
    url = f"http://127.0.0.1:{ports.api}/v1/chat/completions"
    answer = httpx.post(url, json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_one_command_serves_and_one_signal_ends_everything(up: Program, ports: Ports) -> None:
    assert "Paris" in ask(ports)
    assert sorted(processes_of(ports)) == ["danlu.controller", "danlu.webui", "danlu.worker"]
    assert up.stop(signal.SIGINT) == 0
    assert processes_of(ports) == {}
    assert up.output.rstrip().endswith("everything has ended")
    for line in announcement(LOOPBACK, "small")[-1:]:
        assert line in up.output


def test_a_killed_worker_comes_back_and_answers(up: Program, ports: Ports) -> None:
    os.kill(processes_of(ports)["danlu.worker"], signal.SIGKILL)
    up.wait_until(
        lambda: "it is started again" in up.output and up.output.count("worker is ready") == 2,
        "the worker is back",
    )
    wait_for(lambda: serves(ports), "the controller knows it again")
    assert "Paris" in ask(ports)


def serves(ports: Ports) -> bool:
    return httpx.get(f"http://127.0.0.1:{ports.api}/ready", trust_env=False).status_code == 200


def test_nothing_is_left_behind_by_a_killed_supervisor(up: Program, ports: Ports) -> None:
    assert up.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_for(lambda: processes_of(ports) == {}, "all have ended", STOP)


def test_a_model_that_is_not_there_ends_it_with_the_workers_sentence(ports: Ports) -> None:
    flags = ("up", "--model-path", "/no/such", *HOSTS, *ports.flags())
    with Program.ours("danlu.cli", *flags) as program:
        assert program.wait_to_end() == 2
        assert program.output.splitlines()[-1].startswith(
            "danlu: worker cannot start: --model-path '/no/such' does not exist; "
        )
    assert processes_of(ports) == {}


def test_the_tiny_chatglm2_is_served_as_it_was_trained(ports: Ports, chatglm2_dir: Path) -> None:
    flags = ("up", "--demo-chatglm2", *HOSTS, *ports.flags(), "--device", "cpu")
    name = chatglm2_dir.name
    with Program.ours("danlu.cli", *flags) as program:
        program.wait_until(lambda: f"{name} is served" in program.output, "the stack is served")
        assert ask(ports, "你好", name).startswith("你好👋！我是人工智能助手 ChatGLM2-6B，")


def test_an_upstream_is_served_with_page_and_api(ports: Ports) -> None:
    """By flags of the worker's own: which of its models, and what clients know it by."""
    with an_upstream(models=("dog-7b", MODEL)) as (url, fake):
        flags = ("up", "--upstream-url", url, *HOSTS, *ports.flags())
        which = ("--upstream-model", MODEL, "--model-names", "tiger")
        with Program.ours("danlu.cli", *flags, *which) as up:
            up.wait_until(lambda: "tiger is served" in up.output, "the stack is served")
            body = {"model": "tiger", "messages": [{"role": "user", "content": "Hi"}]}
            answer = httpx.post(f"http://127.0.0.1:{ports.api}/v1/chat/completions", json=body)
            assert answer.json()["choices"][0]["message"]["content"] == "".join(TEXTS)
        assert fake.last("/chat/completions")["model"] == MODEL


def test_a_taken_port_is_one_sentence_before_anything_starts(ports: Ports) -> None:
    with (
        socket.create_server(("127.0.0.1", ports.worker)),
        Program.ours("danlu.cli", "up", "--demo", *HOSTS, *ports.flags()) as program,
    ):
        assert program.wait_to_end() == 2
        assert program.output.startswith(f"danlu: cannot listen on 127.0.0.1:{ports.worker}: ")
        assert program.output.rstrip().endswith("choose another --worker-port")
        assert len(program.output.splitlines()) == 1


def test_what_is_open_to_the_network_is_said() -> None:
    open_page = "\n".join(announcement(UpSettings(), "m"))
    assert "http://127.0.0.1:7860  (open to every network of this machine; --host" in open_page
    assert "open to" not in "\n".join(announcement(LOOPBACK, "m"))
