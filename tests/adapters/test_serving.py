"""Serving: taken ports, several listeners in one process, drain, and what systemd hears."""

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from support.processes import Program, answers, free_port, wait_for

from danlu.adapters.errors import StartError
from danlu.adapters.host.serving import bind, tls_from
from danlu.adapters.host.systemd import notify

APP = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from danlu.adapters.host.serving import Listener, bind, serve

async def quick(_):
    return PlainTextResponse("quick")

async def slow(_):
    print("slow began", flush=True)
    await asyncio.sleep(1.5)
    return PlainTextResponse("slow and whole")

app = Starlette(routes=[Route("/", quick), Route("/slow", slow)])
ports = [int(p) for p in sys.argv[1:]]
asyncio.run(serve([Listener(app, bind("127.0.0.1", port)) for port in ports], grace=1.9))
print("drained", flush=True)
"""


@contextmanager
def serving(tmp_path: Path, *ports: int, **env: str) -> Iterator[Program]:
    script = tmp_path / "app.py"
    script.write_text(APP)
    with Program([sys.executable, str(script), *map(str, ports)], env) as program:
        for port in ports:
            program.wait_until_answers(f"http://127.0.0.1:{port}/")
        yield program


def test_a_taken_port_is_one_sentence() -> None:
    with closing(bind("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: Address already"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "a" * 300])
def test_a_host_that_is_no_address_is_one_sentence(host: str) -> None:
    with pytest.raises(StartError, match=f"--host '{host}' is no address of this machine: "):
        bind(host, 0)


def test_an_address_of_another_machine_is_not_taken_for_a_taken_port() -> None:
    with pytest.raises(
        StartError, match="cannot listen on 192.0.2.1:0: .*; give --host an address"
    ):
        bind("192.0.2.1", 0)


def test_localhost_is_the_address_that_its_users_write() -> None:
    with closing(bind("localhost", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"


def test_ssl_needs_its_files_named() -> None:
    assert tls_from(False, "", "") is None
    with pytest.raises(StartError, match="SSL_KEYFILE and SSL_CERTFILE"):
        tls_from(True, "key.pem", "")


@pytest.mark.slow
def test_two_listeners_of_one_process_both_answer(tmp_path: Path) -> None:
    one, two = free_port(), free_port()
    with serving(tmp_path, one, two):
        assert answers(f"http://127.0.0.1:{one}/")
        assert answers(f"http://127.0.0.1:{two}/")


@pytest.mark.slow
def test_a_running_request_finishes_after_the_stop_signal(tmp_path: Path) -> None:
    port = free_port()
    got: list[str] = []
    with serving(tmp_path, port) as program:
        url = f"http://127.0.0.1:{port}/slow"
        reader = threading.Thread(target=lambda: got.append(httpx.get(url, timeout=20).text))
        reader.start()
        program.wait_until(lambda: "slow began" in program.output, "the slow request begins")
        assert program.stop(signal.SIGTERM) == 0
        reader.join(20)
        assert "drained" in program.output
    assert got == ["slow and whole"]


@pytest.mark.slow
def test_the_second_stop_signal_ends_a_running_request_without_a_traceback(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port) as program:
        with socket.create_connection(("127.0.0.1", port)) as reader:
            reader.sendall(b"GET /slow HTTP/1.1\r\nHost: us\r\n\r\n")
            program.wait_until(lambda: "slow began" in program.output, "the slow request begins")
            assert program.process is not None
            program.process.send_signal(signal.SIGINT)
            assert program.stop(signal.SIGTERM) == 0
            assert b"whole" not in reader.recv(1000)
        assert "drained" in program.output
        assert "Traceback" not in program.output


@pytest.mark.slow
def test_systemd_hears_that_a_service_is_ready_and_that_it_stops(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(path)
        systemd.settimeout(20)
        with serving(tmp_path, free_port(), NOTIFY_SOCKET=path) as program:
            assert systemd.recv(100) == b"READY=1"
            program.stop()
            assert systemd.recv(100) == b"STOPPING=1"


def test_without_systemd_nobody_is_told() -> None:
    assert notify("READY=1") is False


def test_a_wait_that_never_ends_fails() -> None:
    with pytest.raises(AssertionError, match="pigs fly"):
        wait_for(lambda: False, "pigs fly", seconds=0)
