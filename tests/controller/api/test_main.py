"""The API plane as a program of its own, really started."""

import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.generators import OurWorker
from support.processes import Program, free_port
from support.script import NAME
from support.served import served
from support.stack import api

from danlu.controller.api.settings import ApiSettings

pytestmark = pytest.mark.slow

MODULE = "danlu.controller.api"
DEFAULT_DRAIN = ApiSettings().drain_seconds
SLOW = {"model": NAME, "messages": "SLOW", "stream": True}


def ends(*flags: str) -> tuple[int, str]:
    with Program.ours(MODULE, *flags) as program:
        return program.wait_to_end(60), program.output


def test_it_serves_before_there_is_a_controller_and_says_what_is_missing() -> None:
    with api(f"http://127.0.0.1:{free_port()}") as server:
        for path in ("/ready", "/v1/models"):
            answer = httpx.get(server.url + path, trust_env=False)
            assert answer.status_code == 503
            assert "controller" in answer.json()["error"]["message"]


def test_it_says_where_it_listens_and_for_which_controller() -> None:
    with api("http://127.0.0.1:9") as server:
        line = f"| listening address={server.url} controller=http://127.0.0.1:9\n"
        assert line in server.program.output


def test_an_answer_that_takes_longer_than_the_drain_is_ended() -> None:
    worker = OurWorker()
    with (
        served(worker.app()) as address,
        served(naming(address)) as controller,
        api(controller, "--drain-seconds", "0") as server,
        httpx.stream("POST", f"{server.url}/v1/chat/completions", json=SLOW) as answer,
    ):
        assert next(answer.iter_lines())
        began = time.monotonic()
        server.program.stop()
        assert time.monotonic() - began < DEFAULT_DRAIN / 2


def naming(address: str) -> Starlette:
    """A controller that knows one worker."""

    async def named(_: Request) -> Response:
        return JSONResponse({"address": address})

    return Starlette(routes=[Route("/get_worker_address", named, methods=["POST"])])


def test_it_stops_well_and_prints_nothing_but_its_log() -> None:
    with api("http://127.0.0.1:9", "--api-keys", "sk-secret") as server:
        assert server.program.stop() == 0
        assert "sk-secret" not in server.program.output
        assert "Traceback" not in server.program.output


def test_a_taken_port_is_one_sentence() -> None:
    with served(Starlette()) as url:
        port = url.rpartition(":")[2]
        status, output = ends("--host", "127.0.0.1", "--port", port)
    assert status == 2
    assert len(output.strip().splitlines()) == 1 and port in output


@pytest.mark.parametrize("flags", [("--ssl",), ("--allowed-origins", "*"), ("--colour", "red")])
def test_what_is_wrong_is_one_sentence(flags: tuple[str, ...]) -> None:
    status, output = ends(*flags)
    assert status == 2
    assert len(output.strip().splitlines()) == 1, output
    assert "Traceback" not in output
