"""Our own programs, really started on loopback, and the few questions that tests ask of any stack.

The questions are FastChat's wire, so they may be asked of stock programs as well.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from . import script
from .processes import START, Program, free_port

TESTS = Path(__file__).resolve().parents[1]
NPUSIM = TESTS.parent / ".venv-npusim" / "bin" / "python"

PATIENCE = 60.0  # seconds for one answer on a busy two-core machine
BEAT = 1  # seconds between two heart-beats of a worker, stock or ours
EXPIRY = 4  # seconds of silence after which a controller drops a worker
ENV = {  # read by stock programs and by ours
    "LOGDIR": "",
    "FASTCHAT_WORKER_HEART_BEAT_INTERVAL": str(BEAT),
    "FASTCHAT_CONTROLLER_HEART_BEAT_EXPIRATION": str(EXPIRY),
}
SMOL = "smollm2"  # the name that the real model is served under
FRANCE = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Server:
    """A program that serves at `url`; a controller of ours serves its API at `api`."""

    url: str
    program: Program
    api: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """A controller with its API, and a worker with a real model."""

    controller: Server
    worker: Server

    @property
    def api(self) -> str:
        return self.controller.api


@contextmanager
def controller(*flags: str, port: int | None = None) -> Iterator[Server]:
    """danlu.controller with its API plane, both answering."""
    port, api_port = port or free_port(), free_port()
    program = Program.ours(
        "danlu.controller",
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--api-host", "127.0.0.1", "--api-port", str(api_port)),
        *flags,
        env=ENV,
    )
    server = Server(f"http://127.0.0.1:{port}", program, f"http://127.0.0.1:{api_port}")
    with clean(program):
        program.wait_until_answers(f"{server.url}/test_connection")
        program.wait_until_answers(f"{server.api}/health")
        yield server


@contextmanager
def api(controller_url: str, *flags: str) -> Iterator[Server]:
    """danlu.controller.api alone, in front of a controller of whatever make."""
    port = free_port()
    here = ("--host", "127.0.0.1", "--port", str(port))
    program = Program.ours(
        "danlu.controller.api", *here, "--controller-address", controller_url, *flags, env=ENV
    )
    server = Server(f"http://127.0.0.1:{port}", program, f"http://127.0.0.1:{port}")
    with clean(program):
        program.wait_until_answers(f"{server.url}/health")
        yield server


@contextmanager
def worker(
    model: Path, name: str, *controllers: str, flags: tuple[str, ...] = ()
) -> Iterator[Server]:
    """danlu.worker on the CPU, with its model loaded and registered with every controller."""
    where = ("--model-path", str(model), "--device", "cpu")
    with _worker("danlu.worker", name, controllers, *where, *flags) as server:
        for address in controllers:
            wait_until_served(address, name, server.program)
        yield server


@contextmanager
def npu_worker(model: Path, name: str, controller_url: str) -> Iterator[Server]:
    """danlu.worker on a simulated NPU, in the environment that has one, registered."""
    if not NPUSIM.exists():
        pytest.fail(f"{NPUSIM} is missing: run scripts/test-needs", pytrace=False)
    where = ("--model-path", str(model), "--device", "npu")
    with _worker("danlu.worker", name, (controller_url,), *where, python=NPUSIM) as server:
        wait_until_served(controller_url, name, server.program)
        yield server


@contextmanager
def golden_worker(controller_url: str, *flags: str) -> Iterator[Server]:
    """danlu's worker with the golden traces' engine; it may still be unknown there."""
    model = ("--model-path", script.NAME)
    with _worker("support.golden_worker", script.NAME, (controller_url,), *model, *flags) as server:
        yield server


@contextmanager
def _worker(
    module: str,
    name: str,
    controllers: Sequence[str],
    *flags: str,
    python: Path = Path(sys.executable),
) -> Iterator[Server]:
    port = free_port()
    program = Program(
        [
            *(str(python), "-m", module),
            *("--host", "127.0.0.1", "--port", str(port), "--model-names", name),
            *("--controller-address", ",".join(controllers)),
            *flags,
        ],
        {**ENV, "PYTHONPATH": str(TESTS)},
    )
    server = Server(f"http://127.0.0.1:{port}", program)
    with clean(program):
        program.wait_until_answers(f"{server.url}/ready")
        yield server


@contextmanager
def clean(program: Program) -> Iterator[Program]:
    """The program, running; whatever was done to it, it must not have shown a traceback."""
    with program:
        yield program
        program.stop()
        assert "Traceback" not in program.output


def post(url: str, body: Any = None, seconds: float = PATIENCE) -> httpx.Response:
    """POST `body` as JSON; proxies named in the environment are not asked."""
    return httpx.post(url, json=body, timeout=seconds, trust_env=False)


def get(url: str, seconds: float = PATIENCE) -> httpx.Response:
    return httpx.get(url, timeout=seconds, trust_env=False)


def models_at(controller_url: str) -> list[str]:
    models: list[str] = post(f"{controller_url}/list_models").json()["models"]
    return sorted(models)


def wait_until_served(
    controller_url: str, name: str, program: Program, seconds: float = START
) -> None:
    """Return once the controller lists model `name`; fail early if the program ends."""
    program.wait_until(
        lambda: name in models_at(controller_url), f"{name} at {controller_url}", seconds
    )


def queue_length(worker_url: str) -> int:
    """Requests running and waiting at a worker, or at all workers of a controller."""
    length: int = post(f"{worker_url}/worker_get_status").json()["queue_length"]
    return length


def frames_of(raw: bytes) -> list[dict[str, Any]]:
    """The frames of a finished stream; every one must be ended by a zero byte."""
    *whole, rest = raw.split(b"\0")
    assert rest == b"", f"bytes after the last zero byte: {rest!r}"
    return [json.loads(frame) for frame in whole]


def stream(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All frames that `url` answers to a generation body."""
    answer = post(url, body)
    assert answer.status_code == 200, answer.text
    return frames_of(answer.content)


def events_of(text: str) -> list[dict[str, Any]]:
    """The JSON events of a finished OpenAI stream; it must end with [DONE]."""
    datas = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data:")]
    assert datas[-1] == "[DONE]", f"the stream does not end with [DONE]: {text[-200:]!r}"
    return [json.loads(data) for data in datas[:-1]]


def chat_body(model: str, text: str = FRANCE, **more: Any) -> dict[str, Any]:
    """A chat request, greedy and short."""
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": 24, **more}


def text_of(events: list[dict[str, Any]]) -> str:
    """What a chat stream said in all."""
    choices = (choice for event in events for choice in event["choices"])
    return "".join(choice["delta"].get("content") or "" for choice in choices)
