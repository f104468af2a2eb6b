"""`danlu bench` against a scripted server: what it asks, prints and leaves behind."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bench_server import TEXTS, BenchServer
from support.processes import Program
from support.served import served

from danlu.adapters.errors import StartError
from danlu.cli.bench.program import main


@pytest.fixture
def server() -> BenchServer:
    return BenchServer()


@pytest.fixture
def url(server: BenchServer) -> Iterator[str]:
    with served(server.app) as base:
        yield base


def found(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> dict[str, object]:
    """The JSON that a load of five requests prints."""
    try:
        main(["--requests", "5", "--json", "-", *argv])
    except SystemExit as end:
        assert end.code == status
    else:
        assert status == 0
    printed: dict[str, object] = json.loads(capsys.readouterr().out)
    return printed


def prompts(tmp_path: Path, *lines: str) -> tuple[str, str]:
    file = tmp_path / "prompts"
    file.write_text("\n".join(lines))
    return "--prompts", str(file)


@pytest.mark.parametrize(
    ("api", "base", "model"),
    [
        ("chat", "/v1", "first"),
        ("completions", "/v1/", "first"),
        ("worker", "", "the-worker's"),
    ],
)
def test_every_protocol_is_asked_and_counted_by_the_servers_usage(
    server: BenchServer,
    url: str,
    capsys: pytest.CaptureFixture[str],
    api: str,
    base: str,
    model: str,
) -> None:
    told = found(capsys, "--url", url + base, "--api", api, "--warmup", "2", "--ignore-eos")
    assert (told["model"], told["ok"], told["failed"]) == (model, 5, 0)
    assert (told["output_tokens"], told["prompt_tokens"]) == (5 * len(TEXTS), 5 * 9)
    assert (told["counted"], told["chunk_tokens"]) == ("usage", 1.0)
    assert told["gap"]["count"] == 5 * (len(TEXTS) - 1)  # type: ignore[index]
    assert len(server.asked) == 7
    body, _ = server.asked[0]
    assert (body["model"], body["temperature"], body["ignore_eos"]) == (model, 0.0, True)
    assert body.get("max_tokens", body.get("max_new_tokens")) == 128
    if api != "worker":
        assert body["stream"] and body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("api", ["chat", "worker"])
def test_a_server_that_does_not_count_is_said_not_to(
    capsys: pytest.CaptureFixture[str], api: str
) -> None:
    with served(BenchServer(counts=False).app) as base:
        where = base if api == "worker" else f"{base}/v1"
        argv = ["--url", where, "--api", api]
        told = found(capsys, *argv)
        main([*argv, "--requests", "3"])
    assert (told["counted"], told["output_tokens"]) == ("chunks", 5 * len(TEXTS))
    assert "The server counted no tokens" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("BOOM", "status 429: the queue is full"),
        ("ERROR", "the queue is full"),
        ("TORN", "the stream ended before the answer was complete"),
    ],
)
def test_failed_requests_are_counted_told_and_the_exit_status(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, word: str, reason: str
) -> None:
    asked = prompts(tmp_path, "good", f"{word} bad")
    flags = ("--url", f"{url}/v1", "--warmup", "0", *asked)
    told = found(capsys, *flags, status=1)
    assert (told["ok"], told["failed"], told["output_tokens"]) == (3, 2, 3 * len(TEXTS))
    assert any(reason in error for error in told["errors"])  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as end:
        main(["--requests", "2", *flags])
    assert end.value.code == 1
    assert f"1 failed: {reason}" in " ".join(capsys.readouterr().out.split())


def test_an_error_of_a_workers_frames_is_a_failure(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = prompts(tmp_path, "BOOM")
    told = found(capsys, "--url", url, "--api", "worker", "--warmup", "0", *asked, status=1)
    assert told["errors"] == {"the queue is full": 5}


def test_the_key_goes_with_every_request_and_into_no_file(
    server: BenchServer, url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "found.json"
    main(["--url", f"{url}/v1", "--requests", "2", "--api-key", "s3cret", "--json", str(file)])
    assert {key for _, key in server.asked} == {"Bearer s3cret"}
    assert "s3cret" not in file.read_text()
    told = json.loads(file.read_text())
    assert told["settings"]["prompt_tokens"] == "128"
    assert "output tokens/s" in capsys.readouterr().out


def test_requests_can_come_at_random_times(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, "--url", f"{url}/v1", "--rate", "500", "--concurrency", "2")
    assert told["ok"] == 5


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--requests", "0"], "--requests wants at least 1"),
        (["--prompt-tokens", "9-3"], "--prompt-tokens: a range begins"),
        (["--api", "grpc"], "--api wants one of chat, completions, worker"),
        (["--prompts", "/nowhere"], "--prompts /nowhere cannot be read"),
        (["--url", "http://127.0.0.1:9/v1"], "cannot be asked for its models"),
    ],
)
def test_what_cannot_be_measured_is_refused(flags: list[str], sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        main(flags)


def test_an_api_that_wants_a_key_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    with served(BenchServer(key="s3cret").app) as url:
        with pytest.raises(StartError, match=r"/v1 answers 401: give the key .* --api-key, or in"):
            main(["--url", f"{url}/v1"])
        assert found(capsys, "--url", f"{url}/v1", "--api-key", "s3cret")["ok"] == 5


def test_a_server_without_models_is_told_what_a_base_looks_like(url: str) -> None:
    with pytest.raises(StartError, match=r"answers 404 in place .* http://host:8000/v1, or a"):
        main(["--url", url])


@pytest.mark.slow
def test_ctrl_c_prints_what_is_there(url: str, server: BenchServer, tmp_path: Path) -> None:
    asked = prompts(tmp_path, *["good"] * 3, "ENDLESS")
    lanes = ("--concurrency", "1", "--warmup", "0", "--requests", "4")
    flags = ("bench", "--url", f"{url}/v1", *lanes, *asked)
    with Program.ours("danlu.cli", *flags, env={"COLUMNS": "80"}) as program:
        program.wait_until(lambda: len(server.asked) == 4, "the last request")
        assert program.stop(signal.SIGINT) == 130
        assert "Traceback" not in program.output
        words = " ".join(program.output.replace("│", " ").split())
        assert "requests ok 3" in words
        assert "requests unfinished 1" in words
