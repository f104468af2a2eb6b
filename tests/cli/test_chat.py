"""`danlu chat`, really started, with a real model, as FastChat's test_cli.py starts its own."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import START, wait_for
from support.starving import a_library, starving
from support.tiny import save_tiny

from danlu.adapters.errors import StartError
from danlu.cli.__main__ import command
from danlu.cli.chat import ChatSettings, worker_settings
from danlu.cli.styles import END_OF_MESSAGE
from danlu.worker.settings import WorkerSettings

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def chat(model: Path, *flags: str, said: str, module: tuple[str, ...] = ("chat",)) -> str:
    """What a chat printed to standard output after all of `said` was piped into it."""
    argv = [sys.executable, "-m", "danlu.cli", *module, "--model-path", str(model), *flags]
    greedy = ["--device", "cpu", "--temperature", "0", "--max-new-tokens", "24"]
    done = subprocess.run(
        [*argv, *greedy], input=said, capture_output=True, text=True, timeout=START, env=ENV
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_questions_are_piped_through_the_programmatic_style_as_fastchats_tests_do(
    smollm2_dir: Path,
) -> None:
    questions = ["What is the capital of France?", "What is the capital\nof Italy?"]
    said = "".join(text + END_OF_MESSAGE for text in [*questions, "!!exit"])
    out = chat(smollm2_dir, "--style", "programmatic", said=said, module=())
    assert out.startswith(
        "[!OP:User]: What is the capital of France?\n"
        "[!OP:Assistant]: The capital of France is Paris.\n"
        "[!OP:User]: What is the capital\nof Italy?\n"
        "[!OP:Assistant]: "
    )
    assert "Rome" in out
    assert out.endswith("[!OP:User]: !!exit\n")


@pytest.mark.slow
def test_plain_lines_with_commands_and_a_template_of_fastchats(
    smollm2_dir: Path, tmp_path: Path
) -> None:
    said = f"What is the capital of France?\n!!save {tmp_path}/talk\n!!reset\n!!remove\n"
    out = chat(smollm2_dir, "--conv-template", "chatglm2", "--debug", said=said)
    assert out.startswith("问: 答: ")
    assert "tokens/s" in out
    assert "[the conversation is forgotten]\n问: [there is nothing to remove]" in out
    assert (tmp_path / "talk.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("style", ["simple", "programmatic"])
def test_bytes_that_are_no_text_are_refused_and_the_chat_goes_on(
    style: str, smollm2_dir: Path
) -> None:
    end = END_OF_MESSAGE if style == "programmatic" else "\n"
    said = b"caf\xe9" + f"{end}What is the capital of France?{end}!!exit{end}".encode()
    flags = ["--model-path", str(smollm2_dir), "--style", style, "--device", "cpu"]
    argv = [sys.executable, "-m", "danlu.cli", *flags, "--temperature", "0"]
    strict = {**ENV, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(argv, input=said, capture_output=True, timeout=START, env=strict)
    assert done.returncode == 0, done.stderr
    assert b"that is no UTF-8 text" in done.stdout + done.stderr
    assert b"Paris" in done.stdout


@pytest.mark.slow
def test_a_library_without_room_at_import_is_preloaded_and_the_chat_goes_on(
    tmp_path: Path,
) -> None:
    argv = [sys.executable, "-m", "danlu.cli", "chat", "--device", "auto", "--max-new-tokens", "2"]
    done = subprocess.run(
        [*argv, "--model-path", str(save_tiny(tmp_path / "model"))],
        input="!!exit\n",
        capture_output=True,
        text=True,
        timeout=START,
        env={**ENV, **starving(tmp_path, a_library())},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("starting again LD_PRELOAD=") == 1


@pytest.mark.slow
def test_ctrl_c_stops_the_answer_and_not_the_program(smollm2_dir: Path) -> None:
    flags = ["--device", "cpu", "--temperature", "0", "--max-new-tokens", "4000"]
    argv = [sys.executable, "-m", "danlu.cli", "chat", "--model-path", str(smollm2_dir), *flags]
    with Terminal(argv) as terminal:
        terminal.types("Tell me a long story about a dragon.\n")
        terminal.waits_for("Assistant: ", words=20)
        terminal.interrupts()
        terminal.waits_for("[stopped]")
        terminal.types("What is the capital of France?\n")
        terminal.waits_for("Paris")
        terminal.waits_for("User: ", times=3)
        terminal.types("\n")
        assert terminal.ends() == 0


class Terminal:
    """A program behind a pseudo-terminal, and somebody who reads and types."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self.seen = ""

    def __enter__(self) -> "Terminal":
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self._process = subprocess.Popen(
            self._argv, stdin=theirs, stdout=theirs, stderr=theirs, env=ENV, start_new_session=True
        )
        os.close(theirs)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def types(self, text: str) -> None:
        self.waits_for("User: ")
        os.write(self._ours, text.encode())

    def interrupts(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def waits_for(self, text: str, *, times: int = 1, words: int = 0) -> None:
        """Until `text` was seen so often, and so many words after it."""

        def look() -> bool:
            self._read()
            behind = self.seen.rpartition(text)[2].split()
            return self.seen.count(text) >= times and len(behind) >= words

        try:
            wait_for(look, f"{text!r} is seen", START)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; seen:\n{self.seen}") from None

    def ends(self) -> int:
        return self._process.wait(START)

    def _read(self) -> None:
        try:
            self.seen += os.read(self._ours, 65536).decode("utf-8", "replace")
        except (BlockingIOError, OSError):
            return


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--judge-sent-end"], "^--judge-sent-end is not supported: "),
        (["--cpu-offloading"], "^--cpu-offloading is not supported: "),
        (["--engine", "upstream"], "^--engine wants one of auto, batching, thread"),
        (["--engine", "thread", "--kv-memory", "2"], "^--kv-memory 2.0 is not honoured by"),
        (["--kv-memory", "-1"], "^--kv-memory wants at least 0"),
        (["--multiline"], "^--multiline needs --style rich"),
        (["--style", "fancy"], "^--style wants one of simple, rich, programmatic"),
        (["--repetition_penalty", "0"], "repetition_penalty"),
        (["--temperature", "nan"], "temperature"),
        (["--conv-system-msg", "\udcff"], r"^--conv-system-msg '\\udcff' is no UTF-8 text"),
        (["--seed", "1" + "0" * 20], "^--seed wants at most"),
        (["--max-new-tokens", "0"], "^--max-new-tokens wants at least 1"),
        ([], "^--model-path '/no/such' does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_honoured_is_refused_by_name(flags: list[str], sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        command(["chat", "--model-path", "/no/such", *flags])


def test_the_model_is_described_as_for_a_worker() -> None:
    settings = ChatSettings(
        model_path="/models/glm",
        engine="batching",
        kv_memory=2.0,
        device="npu:1",
        dtype="float16",
        seed=7,
    )
    assert worker_settings(settings) == WorkerSettings(
        model_path="/models/glm",
        engine="batching",
        kv_memory=2.0,
        device="npu:1",
        dtype="float16",
        seed=7,
        limit_worker_concurrency=1,
        no_register=True,
    )


@pytest.mark.slow
def test_the_generation_is_the_loaders_business(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--chatglm-generation 3 is for a ChatGLM, and"):
        command(["chat", "--model-path", str(save_tiny(tmp_path)), "--chatglm-generation", "3"])
