"""The controller as a program: it starts, serves both planes, stops, or says why it cannot."""

import re
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from support.processes import Program

from danlu.adapters.host.serving import bind

pytestmark = pytest.mark.slow

FREE = ("--host", "127.0.0.1", "--port", "0", "--api-host", "127.0.0.1", "--api-port", "0")


def address_of(program: Program, what: str = "listening") -> str:
    """Where a started controller says that it is."""

    def found() -> re.Match[str] | None:
        return re.search(rf"{what} address=(\S+)", program.output)

    program.wait_until(lambda: found() is not None, f"{what} address")
    match = found()
    assert match is not None
    return match[1]


def end_of(*flags: str, **env: str) -> tuple[int, str]:
    """Exit status and output of a controller that cannot start."""
    with Program.ours("danlu.controller", *flags, env=env) as program:
        return program.wait_to_end(), program.output


def test_both_planes_serve_and_one_signal_ends_them() -> None:
    with Program.ours("danlu.controller", *FREE) as program:
        registry, api = address_of(program), address_of(program, "API")
        program.wait_until_answers(f"{registry}/test_connection")
        program.wait_until_answers(f"{api}/health")
        told = httpx.post(f"{registry}/get_api_address", trust_env=False).json()
        assert told == {"address": api}
        assert httpx.get(f"{api}/ready", trust_env=False).status_code == 503
        assert program.stop() == 0
        assert "Traceback" not in program.output


def test_without_an_api_only_the_registry_listens() -> None:
    with Program.ours("danlu.controller", *FREE, "--no-api") as program:
        registry = address_of(program)
        program.wait_until_answers(f"{registry}/ready")
        assert httpx.post(f"{registry}/get_api_address").json() == {"address": ""}
        assert address_of(program, "API") == "none"
        assert program.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("flag", ["--port", "--api-port"])
def test_a_taken_port_is_one_sentence_and_status_2(flag: str) -> None:
    with closing(bind("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, output = end_of(*FREE, flag, port)
    assert status == 2
    assert output.startswith(f"danlu-controller: cannot listen on 127.0.0.1:{port}: Address")
    assert output.endswith(f"choose another {flag}\n") and output.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--port", "x"), "--port wants an integer, not 'x'"),
        (("--dispatch-method", "x"), "--dispatch-method wants one of lottery, shortest_queue"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("--ssl",), "--ssl needs the variables SSL_KEYFILE and SSL_CERTFILE"),
        (("--ssl", "--ssl-keyfile", "k", "--ssl-certfile", "c"), "--ssl cannot use 'c' with 'k'"),
        (("--api-host", "no.such.host.invalid"), "--api-host 'no.such.host.invalid' is no address"),
        (("--host", "no.such.host.invalid"), "is no address of this machine"),
        (("--log-dir", "/dev/null/logs"), "cannot write log files to '/dev/null/logs'"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_status_2(flags: tuple[str, ...], sentence: str) -> None:
    status, output = end_of(*FREE, *flags)
    assert status == 2
    assert output.startswith("danlu-controller: ") and sentence in output
    assert output.count("\n") == 1


def test_the_log_goes_to_a_file_only_where_one_is_asked_for(tmp_path: Path) -> None:
    with Program.ours("danlu.controller", *FREE, env={"LOGDIR": str(tmp_path)}) as program:
        address_of(program)
        assert "listening" in (tmp_path / "controller.log").read_text()


def test_keys_do_not_show_in_the_log() -> None:
    with Program.ours("danlu.controller", *FREE, "--api-keys", "hush-hush") as program:
        program.wait_until_answers(f"{address_of(program)}/health")
        program.stop()
        assert "hush-hush" not in program.output


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_no_fault() -> None:
    with Program.ours("danlu.controller", *FREE) as program:
        registry = address_of(program)
        program.wait_until_answers(f"{registry}/health")
        with socket.create_connection(("127.0.0.1", int(registry.rsplit(":", 1)[1]))) as sock:
            sock.sendall(b"POST /worker_generate_stream HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
        program.wait_until_answers(f"{registry}/health")
        program.stop()
        assert "Traceback" not in program.output


def test_it_never_loads_torch() -> None:
    look = "import sys, danlu.controller.__main__; print('torch' in sys.modules)"
    with Program([sys.executable, "-c", look]) as program:
        assert program.wait_to_end() == 0
        assert program.output == "False\n"
