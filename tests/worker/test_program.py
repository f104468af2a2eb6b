"""The worker as a process: what stops it from starting, its way to readiness, and its end."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.checkpoints import lay_checkpoint
from support.processes import STOP, Program, answers, free_port, wait_for
from support.served import served
from support.workers import ask, frames_in

from danlu.adapters.host.serving import bind
from danlu.worker.__main__ import DEVICE_LOST

pytestmark = pytest.mark.slow

TESTS = str(Path(__file__).parents[1])
STREAM = "/worker_generate_stream"


class Registry:
    """A controller as far as a worker sees one; what it heard is in `heard`."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.known: set[str] = set()
        paths = ("register_worker", "receive_heart_beat", "unregister_worker")
        self.app = Starlette(routes=[Route(f"/{p}", self._take, methods=["POST"]) for p in paths])

    async def _take(self, request: Request) -> Response:
        path, body = request.url.path[1:], await request.json()
        name = body["worker_name"]
        self.heard.append((path, body))
        if path == "register_worker":
            self.known.add(name)
            return JSONResponse(None)
        known = name in self.known
        if path == "unregister_worker":
            self.known.discard(name)
        return JSONResponse({"exist": known})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that passes for a model's."""
    return lay_checkpoint(tmp_path)


def fake(model: Path, *flags: str, **env: str) -> Program:
    """The worker program around an engine without a model."""
    where = ("--host", "127.0.0.1", "--model-path", str(model))
    return Program.ours(
        "support.fake_worker", *where, *flags, env={"PYTHONPATH": TESTS, "LOGDIR": "", **env}
    )


@contextmanager
def running(model: Path, *flags: str, **env: str) -> Iterator[tuple[Program, str]]:
    """A worker that is ready, registered with nobody unless the flags say otherwise."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = flags if "--controller-address" in flags else ("--no-register", *flags)
    with fake(model, "--port", str(port), *flags, **env) as program:
        program.wait_until_answers(url + "/ready")
        yield program, url


def last_words(program: Program) -> str:
    """What a program that could not start said; without a traceback."""
    assert program.wait_to_end() == 2
    assert "Traceback" not in program.output
    return program.output.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("program", ["danlu.worker", "danlu.cli"])
def test_without_the_libraries_of_models_it_is_said_where_they_are(
    program: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    flags = ("--model-path", str(model), "--device", "cpu")
    with Program.ours(
        program, *flags, env={"PYTHONPATH": str(tmp_path), "DANLU_WORKER_PORT": "0"}
    ) as started:
        said = last_words(started)
        assert said.endswith(
            "torch is not installed; the worker's packages come with danlu[worker]"
        )


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--model-path", "/no/such/model"), "--model-path '/no/such/model' does not exist; give"),
        (("--model-path", "/"), "--model-path '/' is no model directory: it has no config.json"),
        (("--model-path", "/dev/null"), "--model-path '/dev/null' is a file but no GGUF; give"),
        ((), "--model-path is missing; give the directory"),
        (("--awq-ckpt", "x"), "--awq-ckpt is not supported: GPTQ and AWQ files are not read; give"),
        (("--colour", "red"), "unrecognized arguments: --colour red (--help lists the flags)"),
    ],
)
def test_a_worker_that_cannot_start_says_why_in_one_sentence(
    flags: tuple[str, ...], sentence: str
) -> None:
    with Program.ours("danlu.worker", *flags) as program:
        assert last_words(program).startswith(f"danlu-worker: {sentence}")
        assert len(program.output.splitlines()) == 1


def test_a_device_that_we_do_not_have_is_named(model: Path) -> None:
    with Program.ours("danlu.worker", "--model-path", str(model), "--device", "xpu") as program:
        assert last_words(program).startswith("danlu-worker: --device 'xpu' is not supported; one")


def test_https_without_its_files_is_named(model: Path) -> None:
    with fake(model, "--port", "0", "--ssl", SSL_KEYFILE="", SSL_CERTFILE="") as program:
        assert last_words(program).endswith(
            "--ssl needs the variables SSL_KEYFILE and SSL_CERTFILE"
        )


def test_a_taken_port_is_said_before_anything_is_loaded(model: Path) -> None:
    with closing(bind("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        where = ("--model-path", str(model), "--host", "127.0.0.1", "--port", str(port))
        with Program.ours("danlu.worker", *where) as program:
            sentence = f"danlu-worker: cannot listen on 127.0.0.1:{port}: Address already in use"
            assert last_words(program).startswith(sentence)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("fail", "'{model}' holds no weights; give a complete directory"),
        ("break", "cannot load '{model}': RuntimeError: a defect"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_worker(
    word: str, sentence: str, model: Path
) -> None:
    (model / "load").write_text(word)
    with fake(model, "--no-register", "--port", "0") as program:
        assert program.wait_to_end() == 2
        last = program.output.splitlines()[-1]
    assert last == "danlu-worker: " + sentence.format(model=model)


def test_while_it_loads_it_answers_and_a_stop_does_not_wait_for_the_model(model: Path) -> None:
    (model / "load").write_text("hang")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with fake(model, "--no-register", "--port", str(port)) as program:
        program.wait_until_answers(url + "/health")
        ready = httpx.get(url + "/ready", trust_env=False)
        assert (ready.status_code, ready.json()["progress"]) == (503, 0.5)
        assert httpx.post(url + STREAM, content=ask("Q"), trust_env=False).status_code == 503
        program.stop()
        assert program.wait_to_end(STOP) == 0


def test_systemd_hears_how_it_loads_and_that_it_is_ready(model: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(path)
        systemd.settimeout(STOP)
        with running(model, "--model-names", "m", NOTIFY_SOCKET=path) as (program, _):
            assert systemd.recv(4096) == b"STATUS=loading m: 50 % weights"
            assert systemd.recv(4096) == b"READY=1\nSTATUS=serving m"
            program.stop()
            assert systemd.recv(4096) == b"STOPPING=1"


def read(url: str, prompt: str, into: list[httpx.Response]) -> threading.Thread:
    """Reads a stream on another thread, to its end."""
    asked = {"prompt": prompt, "echo": False}

    def reading() -> None:
        into.append(httpx.post(url + STREAM, json=asked, timeout=60, trust_env=False))

    thread = threading.Thread(target=reading)
    thread.start()
    status = url + "/worker_get_status"
    wait_for(lambda: httpx.post(status, trust_env=False).json()["queue_length"] == 1, "it runs")
    return thread


def test_a_running_answer_is_finished_before_the_worker_ends(model: Path) -> None:
    got: list[httpx.Response] = []
    with running(model) as (program, url):
        thread = read(url, "PAUSE", got)
        assert program.stop() == 0
        thread.join(STOP)
    assert frames_in(got[0].content)[-1]["text"] == "All is well."
    assert frames_in(got[0].content)[-1]["finish_reason"] == "stop"


def test_an_answer_that_outlives_the_drain_ends_with_an_error(model: Path) -> None:
    got: list[httpx.Response] = []
    with running(model, "--drain-seconds", "1") as (program, url):
        thread = read(url, "SLOW", got)
        assert program.stop() == 0
        thread.join(STOP)
    *_, said, last = frames_in(got[0].content)
    assert (said["text"], said["finish_reason"]) == ("All ", None)
    assert last["error_code"] == 50001 and "stopping" in last["text"]


def test_a_worker_whose_device_is_lost_says_so_leaves_the_controller_and_ends(model: Path) -> None:
    registry, got = Registry(), list[httpx.Response]()
    with served(registry.app) as controller:
        with running(model, "--controller-address", controller) as (program, url):
            wait_for(lambda: url in registry.known, "it registers")
            thread = read(url, "SLOW", got)
            lost = httpx.post(url + STREAM, content=ask("LOST", model=None), trust_env=False)
            assert program.wait_to_end(STOP) == DEVICE_LOST
            thread.join(STOP)
            assert "Traceback" not in program.output
        assert registry.heard[-1] == ("unregister_worker", {"worker_name": url})
    for answer in (lost, got[0]):
        assert frames_in(answer.content)[-1]["error_code"] == 50006


def test_a_device_that_is_lost_while_the_model_is_loaded_is_worth_another_start(
    model: Path,
) -> None:
    (model / "load").write_text("lose")
    with fake(model, "--no-register", "--port", "0") as program:
        assert program.wait_to_end() == DEVICE_LOST
        assert "npu:0 is lost" in program.output and "Traceback" not in program.output


def test_a_worker_that_stops_is_reachable_no_more(model: Path) -> None:
    with running(model) as (program, url):
        program.stop(signal.SIGINT)
        assert program.wait_to_end() == 0
        assert not answers(url + "/health")


def test_it_waits_for_its_controller_survives_its_restart_and_says_goodbye(model: Path) -> None:
    port = free_port()
    controller = f"http://127.0.0.1:{port}"
    flags = ("--controller-address", controller, "--heart-beat-interval", "0.3")
    with running(model, "--model-names", "a,b", *flags) as (program, url):
        for registry in (Registry(), Registry()):  # the second one has never heard of it
            with served(registry.app, port):
                wait_for(lambda r=registry: url in r.known, "it registers")  # type: ignore[misc]
        hello = next(body for path, body in registry.heard if path == "register_worker")
        assert hello["worker_status"] == {"model_names": ["a", "b"], "speed": 1, "queue_length": 0}
        last = Registry()
        with served(last.app, port):
            wait_for(lambda: url in last.known, "it registers again")
            program.stop()
            assert last.heard[-1] == ("unregister_worker", {"worker_name": url})
        assert program.wait_to_end() == 0


def test_every_controller_knows_it(model: Path) -> None:
    one, other = Registry(), Registry()
    with served(one.app) as first, served(other.app) as second:
        both = f"{first},{second}"
        with running(model, "--controller-address", both) as (_, url):
            wait_for(lambda: url in one.known and url in other.known, "both know it")
