"""`python -m danlu.webui` as a process: how it starts, what it gives away, how it ends."""

import socket

import httpx
import pytest
from support.processes import Program, free_port

pytestmark = pytest.mark.slow


def ends_with(*flags: str) -> str:
    """The one sentence of a page that cannot start."""
    with Program.ours("danlu.webui", "--host", "127.0.0.1", *flags) as page:
        assert page.wait_to_end(60) == 2
        [sentence] = page.output.splitlines()
    return sentence


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = ends_with("--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}" in sentence


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--share"], "--share is not supported: "),
        (["--gradio-auth-path", "/nowhere"], "--gradio-auth-path '/nowhere' cannot be read"),
        (["--model-list-mode", "never"], "--model-list-mode wants one of once, reload"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(flags: list[str], part: str) -> None:
    assert part in ends_with("--port", "0", *flags)


def test_a_page_gives_no_file_away_calls_nobody_and_ends_when_told() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = ["--host", "127.0.0.1", "--port", str(port), "--controller-url", "http://127.0.0.1:9"]
    proxies = {"ALL_PROXY": "socks5://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    with Program.ours("danlu.webui", *flags, env=proxies) as page:
        page.wait_until_answers(f"{url}/health")
        assert "The page is at" in page.output  # which lies in its working directory
        for path in ("/file=output", "/file/output", f"/proxy={url}/health"):
            answer = httpx.get(f"{url}{path}", trust_env=False)
            assert answer.status_code == 404
            assert "The page is at" not in answer.text
        assert "Traceback" not in page.output
        assert page.stop() == 0
