"""The worker with --engine upstream as a process: what stops it, and what it never loads."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from support import stack
from support.processes import Program, free_port
from support.served import served
from support.upstreams import MODEL, TEXTS, FakeUpstream, an_upstream

pytestmark = pytest.mark.slow

HERE = ("--engine", "upstream", "--no-register", "--host", "127.0.0.1")


@contextmanager
def running(*flags: str, port: int, **env: str) -> Iterator[tuple[Program, str]]:
    own = {"LOGDIR": "", **env}
    with Program.ours("danlu.worker", *HERE, "--port", str(port), *flags, env=own) as program:
        yield program, f"http://127.0.0.1:{port}"


def test_an_upstream_is_served_under_its_own_name_and_no_torch_is_loaded() -> None:
    with (
        an_upstream(key="secret") as (up, _),
        running(*("--upstream-url", up), port=free_port(), DANLU_WORKER_UPSTREAM_KEY="secret") as (
            program,
            url,
        ),
    ):
        program.wait_until_answers(f"{url}/ready")
        body = {"model": MODEL, "prompt": "Hi", "echo": False}
        answer = httpx.post(f"{url}/worker_generate", json=body, trust_env=False).json()
        assert answer["text"] == "".join(TEXTS) and answer["finish_reason"] == "stop"
        assert program.process is not None
        assert "libtorch" not in Path(f"/proc/{program.process.pid}/maps").read_text()
        assert os.path.exists(f"/proc/{program.process.pid}")
        assert program.stop() == 0
        assert "secret" not in program.output and "Traceback" not in program.output


def test_an_upstream_that_starts_later_is_waited_for() -> None:
    port = free_port()
    up = f"http://127.0.0.1:{port}/v1"
    with running("--upstream-url", up, port=free_port()) as (program, url):
        program.wait_until(lambda: "waiting for the upstream" in ready(url), "it waits")
        with served(FakeUpstream().app(), port):
            program.wait_until_answers(f"{url}/ready")
            assert program.stop() == 0


def test_an_upstream_that_goes_takes_its_model_out_of_the_registry_until_it_is_back() -> None:
    at, port = free_port(), free_port()
    flags = ("--engine", "upstream", "--upstream-url", f"http://127.0.0.1:{at}/v1")
    here = ("--host", "127.0.0.1", "--port", str(port))
    with stack.controller() as front, ExitStack() as upstream:
        upstream.enter_context(served(FakeUpstream().app(), at))
        to = ("--controller-address", front.url)
        with stack.clean(Program.ours("danlu.worker", *flags, *here, *to, env=stack.ENV)) as worker:
            worker.wait_until(lambda: listed(front) == [MODEL], "the API lists the model")
            upstream.close()
            worker.wait_until(lambda: listed(front) == [], "the API lists it no more")
            upstream.enter_context(served(FakeUpstream().app(), at))
            worker.wait_until(lambda: listed(front) == [MODEL], "the API lists it again")
            body = stack.chat_body(MODEL, "Hi")
            answer = stack.post(f"{front.api}/v1/chat/completions", body).json()
            assert answer["choices"][0]["message"]["content"] == "".join(TEXTS)
            assert front.program.output.count("worker left") == 1
            assert "worker expired" not in front.program.output
            told = ("the upstream is away: ", "the upstream is back", "registered controller=")
            assert [worker.output.count(line) for line in told] == [1, 1, 2]


def listed(front: stack.Server) -> list[str]:
    return [card["id"] for card in stack.get(f"{front.api}/v1/models").json()["data"]]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--upstream-key", "wrong"),
            "status 401: no such key; give its key with --upstream-key-fi",
        ),
        (
            ("--upstream-key", "secret", "--upstream-model", "dog"),
            f"--upstream-model 'dog' is not served by the upstream; one of {MODEL}",
        ),
        (("--upstream-key-file", "/no/such"), "--upstream-key-file '/no/such' cannot be read: "),
        (("--upstream-key-file", "/dev/null"), "--upstream-key-file '/dev/null' has no first line"),
    ],
)
def test_what_waiting_does_not_mend_is_said_in_one_sentence(
    flags: tuple[str, ...], sentence: str
) -> None:
    with (
        an_upstream(key="secret") as (up, _),
        running("--upstream-url", up, *flags, port=0) as (program, _),
    ):
        assert program.wait_to_end() == 2
        assert sentence in program.output.splitlines()[-1]
        assert "Traceback" not in program.output


def ready(url: str) -> str:
    try:
        return httpx.get(f"{url}/ready", trust_env=False).text
    except httpx.HTTPError:
        return ""
