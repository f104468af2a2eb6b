"""The `danlu` command line: which word leads where."""

import subprocess
import sys

import pytest
from support.processes import START

from danlu import __version__
from danlu.adapters.errors import StartError
from danlu.cli.__main__ import COMMANDS, command


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command(argv)
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    command(["--version"])
    assert capsys.readouterr().out == f"danlu {__version__}\n"


def test_an_unknown_command_is_named_with_those_we_have() -> None:
    with pytest.raises(StartError, match="no command 'serve'; we have up, chat"):
        command(["serve"])


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_lists_its_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command([name, "--help"])
    assert end.value.code == 0
    assert f"usage: danlu {name}" in capsys.readouterr().out


def test_flags_without_a_command_are_the_terminal_chats(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(StartError, match="--model-path"):
        command(["--style", "programmatic"])


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--demo", "--model-path", "DIR"],
        ["--demo-chatglm2", "--model-path", "DIR"],
        ["--demo", "--demo-chatglm2"],
        ["--demo", "--demo-chatglm2", "--model-path", "DIR"],
        ["--upstream-url", "http://up/v1", "--model-path", "DIR"],
    ],
)
def test_up_wants_a_model_or_one_of_the_demos(flags: list[str]) -> None:
    with pytest.raises(StartError, match="--model-path DIR.*--demo or --demo-chatglm2"):
        command(["up", *flags])


@pytest.mark.slow
def test_help_is_there_at_once_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from danlu.cli.__main__ import command; command(['--help']);"
        "print(sorted({'torch', 'transformers', 'rich', 'httpx', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=START
    )
    assert done.stdout.endswith("[]\n"), done.stderr
