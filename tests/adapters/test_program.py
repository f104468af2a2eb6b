"""A program's frame and its log."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.adapters.host import logs, program

LEAVING = """
import atexit, logging
from logging.handlers import MemoryHandler
from danlu.adapters.host import program

atexit.register(print, "registered for the end")
logging.getLogger().addHandler(MemoryHandler(100, target=logging.StreamHandler()))
logging.error("logged")
print("said", end="")
program.leave(5)
"""


@pytest.fixture
def plain_logging() -> Iterator[None]:
    """Puts back the handlers of the test run."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_program_that_cannot_start_says_why_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        raise StartError("no model at 'x'; give a directory")

    assert program.run("danlu-worker", main) == 2
    assert capsys.readouterr().err == "danlu-worker: no model at 'x'; give a directory\n"


def test_a_program_that_ran_is_a_success() -> None:
    assert program.run("danlu-worker", lambda: None) == 0


def test_ctrl_c_is_no_traceback() -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert program.run("danlu-worker", main) == 130


def test_a_program_that_ends_itself_has_its_own_status() -> None:
    def main() -> None:
        sys.exit(7)

    assert program.run("danlu-worker", main) == 7


def test_a_sentence_to_exit_with_stays_pythons_to_tell() -> None:
    def main() -> None:
        sys.exit("no model")

    with pytest.raises(SystemExit, match="no model"):
        program.run("danlu-worker", main)


def test_who_leaves_has_said_all_and_does_nothing_more() -> None:
    """In a pipe, where what is printed waits for the end."""
    left = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True)
    assert (left.returncode, left.stdout, left.stderr) == (5, "said", "logged\n")


@pytest.mark.usefixtures("plain_logging")
def test_log_lines_have_fastchats_format_and_go_to_a_file_on_request(tmp_path: Path) -> None:
    logs.configure("controller", str(tmp_path / "logs"))
    logging.getLogger("danlu.test").info("worker joined address=%s", "http://w")
    line = (tmp_path / "logs" / "controller.log").read_text()
    assert line.endswith(" | INFO | danlu.test | worker joined address=http://w\n")


@pytest.mark.usefixtures("plain_logging")
def test_without_a_folder_no_file_is_written(tmp_path: Path) -> None:
    logs.configure("controller")
    logging.getLogger("danlu.test").info("hello")
    assert list(tmp_path.iterdir()) == []
