"""The API plane as a program of its own, really started."""

import httpx
import pytest
from starlette.applications import Starlette
from support.processes import Program, free_port
from support.served import served
from support.stack import api

pytestmark = pytest.mark.slow

MODULE = "danlu.controller.api"


def ends(*flags: str) -> tuple[int, str]:
    with Program.ours(MODULE, *flags) as program:
        return program.wait_to_end(60), program.output


def test_it_serves_before_there_is_a_controller_and_says_what_is_missing() -> None:
    with api(f"http://127.0.0.1:{free_port()}") as server:
        for path in ("/ready", "/v1/models"):
            answer = httpx.get(server.url + path, trust_env=False)
            assert answer.status_code == 503
            assert "controller" in answer.json()["error"]["message"]


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
