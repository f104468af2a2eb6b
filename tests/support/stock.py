"""Stock FastChat 0.2.36: its own programs in its own virtual environment, really started.

`scripts/test-needs` makes the environment. FastChat writes log files where it stands unless LOGDIR
is empty, and beats every 45 s unless told otherwise: ENV makes it do neither.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .processes import Program, free_port
from .stack import ENV, Server, wait_until_served

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-fschat" / "bin" / "python"


def stock(module: str, *flags: str) -> Program:
    """A program of stock FastChat, not started yet; the test fails if FastChat is not there."""
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON} is missing: run scripts/test-needs", pytrace=False)
    return Program([str(PYTHON), "-m", module, *flags], {**ENV, "PYTHONPATH": str(ROOT / "tests")})


@contextmanager
def stock_controller(port: int | None = None) -> Iterator[Server]:
    """fastchat.serve.controller, answering."""
    server = _server(port, "fastchat.serve.controller")
    with server.program as program:
        program.wait_until_answers(f"{server.url}/test_connection")
        yield server


@contextmanager
def stock_api(controller_url: str) -> Iterator[Server]:
    """fastchat.serve.openai_api_server in front of a controller, answering."""
    flags = ("--controller-address", controller_url)
    server = _server(None, "fastchat.serve.openai_api_server", *flags)
    with server.program as program:
        program.wait_until_answers(f"{server.url}/v1/models")
        yield server


@contextmanager
def stock_model_worker(
    controller_url: str, model: Path, name: str, *flags: str
) -> Iterator[Server]:
    """fastchat.serve.model_worker with a real ChatML model on the CPU, registered."""
    where = ("--model-path", str(model), "--model-names", name, "--device", "cpu")
    chatml = ("--conv-template", "orca-2")  # FastChat has no template for SmolLM2
    with _worker(controller_url, "fastchat.serve.model_worker", *where, *chatml, *flags) as server:
        wait_until_served(controller_url, name, server.program)
        yield server


@contextmanager
def scripted_worker(controller_url: str, name: str, *flags: str) -> Iterator[Server]:
    """A stock BaseModelWorker whose engine follows a script, registered."""
    with _worker(
        controller_url, "support.scripted_worker", "--model-names", name, *flags
    ) as server:
        wait_until_served(controller_url, name, server.program)
        yield server


@contextmanager
def _worker(controller_url: str, module: str, *flags: str) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    there = ("--worker-address", url, "--controller-address", controller_url)
    server = _server(port, module, *there, *flags)
    with server.program as program:
        # It registers before it listens; who asks it in between loses it for a heart-beat.
        program.wait_until_answers(f"{url}/worker_get_status", "POST")
        yield server


def _server(port: int | None, module: str, *flags: str) -> Server:
    port = port or free_port()
    program = stock(module, "--host", "127.0.0.1", "--port", str(port), *flags)
    return Server(f"http://127.0.0.1:{port}", program)
