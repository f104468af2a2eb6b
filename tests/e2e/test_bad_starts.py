"""Programs that cannot start: exit status 2 and one line that says what is wrong and what is right.

Cheap checks come before anything slow, so most of these end within a second.
"""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import Program, free_port
from support.refusals import TO_REFUSE, check_start_refusal

pytestmark = pytest.mark.slow

LOCAL = ("--host", "127.0.0.1")


def worker(*flags: str) -> Program:
    there = ("--controller-address", "http://127.0.0.1:9")
    return Program.ours("danlu.worker", *LOCAL, "--port", "0", *there, *flags)


def controller(*flags: str) -> Program:
    return Program.ours("danlu.controller", *LOCAL, "--port", "0", "--api-port", "0", *flags)


def api(*flags: str) -> Program:
    return Program.ours("danlu.controller.api", *LOCAL, "--port", "0", *flags)


def webui(*flags: str) -> Program:
    return Program.ours("danlu.webui", *LOCAL, *flags)


def danlu(*flags: str) -> Program:
    return Program.ours("danlu.cli", *flags)


@pytest.fixture(scope="module")
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield str(sock.getsockname()[1])


# What lies at --model-path, and what the refusal must say of it.
def nothing(_: Path, place: Path) -> None:
    pass


def empty(_: Path, place: Path) -> None:
    place.mkdir()


def a_text_file(_: Path, place: Path) -> None:
    place.write_text("This is no model.")


def a_false_gguf(_: Path, place: Path) -> None:
    """The right beginning, and nothing right behind it."""
    place.write_bytes(b"GGUF" + b"\x03\0\0\0" + b"nonsense" * 100)


def no_json(model: Path, place: Path) -> None:
    copy(model, place)
    (place / "config.json").write_text("{")


def an_unknown_type(model: Path, place: Path) -> None:
    copy(model, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "model_type": "abacus"}))


def no_weights(model: Path, place: Path) -> None:
    copy(model, place)
    (place / "model.safetensors").unlink()


def no_tokenizer(model: Path, place: Path) -> None:
    copy(model, place)
    for file in place.glob("*token*"):
        file.unlink()
    for name in ("vocab.json", "merges.txt"):
        (place / name).unlink(missing_ok=True)


def cut_weights(model: Path, place: Path) -> None:
    copy(model, place)
    weights = place / "model.safetensors"
    with weights.open("rb") as file:
        half = file.read(1_000_000)
    weights.unlink()
    weights.write_bytes(half)


def weights_of_another_shape(model: Path, place: Path) -> None:
    copy(model, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))


def copy(model: Path, place: Path) -> None:
    """The model's directory; its files are links, to be replaced and never written through."""
    place.mkdir()
    for file in model.iterdir():
        if file.suffix == ".safetensors":
            (place / file.name).symlink_to(file)
        elif file.is_file():
            shutil.copy(file, place / file.name)


@pytest.mark.parametrize(
    ("lay", "words"),
    [
        (nothing, ["--model-path", "does not exist"]),
        (empty, ["no model directory", "config.json"]),
        (a_text_file, ["no GGUF", ".gguf"]),
        (a_false_gguf, ["place", "gguf"]),
        (no_json, ["config.json"]),
        (an_unknown_type, ["abacus"]),
        (no_weights, ["weights"]),
        (no_tokenizer, ["tokenizer"]),
        (cut_weights, ["place"]),
        (weights_of_another_shape, ["place"]),
    ],
)
def test_a_path_that_holds_no_model(
    lay: Callable[[Path, Path], None], words: list[str], smollm2_dir: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    lay(smollm2_dir, place)
    check_start_refusal(worker("--model-path", str(place), "--device", "cpu"), *words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--device", "tpu"], ["tpu", "npu"]),
        (["--device", "npu:x"], ["npu:x"]),
        (["--device", "npu"], ["npu"]),
        (["--device", "cuda:0"], ["cuda"]),
        (["--dtype", "float8"], ["--dtype", "float16"]),
        (["--num-gpus", "2"], ["--num-gpus", "one"]),
        (["--gpus", "0,1"], ["--gpus"]),
        (["--load-8bit", "--quantization", "int4"], ["--load-8bit", "--quantization", "int4"]),
        (
            ["--device", "cpu", "--quantization", "int8", "--dtype", "float32"],
            ["--quantization int8", "bfloat16", "float32"],
        ),
        (["--gptq-ckpt", "x"], ["--gptq-ckpt"]),
        (["--limit-worker-concurrency", "0"], ["--limit-worker-concurrency", "at least 1"]),
        (["--limit-worker-concurrency", "many"], ["integer"]),
        (["--conv-template", "mystery"], ["mystery"]),
        (["--controller-address", "somewhere"], ["--controller-address", "http"]),
        (["--worker-address", "ftp://x"], ["--worker-address", "http"]),
        (["--port", "70000"], ["--port", "65535"]),
        (["--port", "x"], ["--port", "integer"]),
        (["--host", "nowhere.invalid"], ["--host", "nowhere.invalid"]),
        (["--ssl"], ["SSL_KEYFILE"]),
        (["--context-length", "1"], ["--context-length"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["--seed", "x"], ["--seed"]),
        (["--revision", "v2"], ["--revision"]),
    ],
)
def test_a_worker_that_cannot_start(flags: list[str], words: list[str], smollm2_dir: Path) -> None:
    check_start_refusal(worker("--model-path", str(smollm2_dir), *flags), *words)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (worker(), ["--model-path"]),
        (controller("--dispatch-method", "random"), ["--dispatch-method", "shortest_queue"]),
        (controller("--port", "-1"), ["--port"]),
        (controller("--heart-beat-expiration", "0"), ["--heart-beat-expiration"]),
        (controller("--ssl"), ["SSL_KEYFILE"]),
        (controller("--frobnicate"), ["--frobnicate"]),
        (controller("junk"), ["junk"]),
        (controller("--host", "nowhere.invalid"), ["nowhere.invalid"]),
        (controller("--api-host", "nowhere.invalid"), ["nowhere.invalid"]),
        (api("--allowed-origins", "everybody"), ["JSON"]),
        (api("--worker-timeout", "0"), ["--worker-timeout"]),
        (api("--controller-address", "somewhere"), ["--controller-address", "http"]),
        (webui("--frobnicate"), ["--frobnicate"]),
        (webui("--port", "x"), ["--port"]),
        (danlu("up"), ["--model-path"]),
        (danlu("chat"), ["--model-path"]),
        (danlu("chat", "--model-path", "/nowhere/at/all"), ["/nowhere/at/all"]),
        (danlu("frobnicate"), ["frobnicate", "up"]),
    ],
    ids=lambda value: " ".join(value.argv[2:]) if isinstance(value, Program) else "",
)
def test_a_program_that_cannot_start(program: Program, words: list[str]) -> None:
    check_start_refusal(program, *words)


def test_the_command_ends_as_its_worker_does() -> None:
    """What it started before is stopped again; its last line has the reason."""
    ports = [
        f
        for name in ("controller-", "api-", "worker-", "")
        for f in (f"--{name}port", str(free_port()))
    ]
    with danlu("up", *ports, "--model-path", "/nowhere/at/all") as program:
        assert program.wait_to_end(TO_REFUSE) == 2
        last = program.output.strip().splitlines()[-1]
    assert last.startswith("danlu: ") and "/nowhere/at/all" in last
    assert "Traceback" not in last


def test_a_variable_that_does_not_parse_is_named() -> None:
    program = Program.ours("danlu.controller", env={"DANLU_CONTROLLER_PORT": "x"})
    check_start_refusal(program, "DANLU_CONTROLLER_PORT", "integer")


def test_a_taken_port_is_named(taken: str, smollm2_dir: Path) -> None:
    model = ("--model-path", str(smollm2_dir), "--device", "cpu")
    for program in (
        worker(*model, "--port", taken),
        controller("--port", taken),
        controller("--api-host", "127.0.0.1", "--api-port", taken),
        api("--port", taken, "--controller-address", "http://127.0.0.1:9"),
        webui("--port", taken, "--controller-url", f"http://127.0.0.1:{free_port()}"),
    ):
        check_start_refusal(program, f"127.0.0.1:{taken}", "port")
