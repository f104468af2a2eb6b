"""Programs that are run to their end: what they said, how they ended, and not for too long."""

import sys
from collections.abc import Sequence

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.running import Done, last_line, run_captured, run_heard

LONG = 60.0
SHORT = 0.5  # seconds for a program that would never end
SPEAKS = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
NEVER_ENDS = "import threading; threading.Event().wait()"


def python(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]


@pytest.mark.slow
def test_what_a_program_said_is_kept() -> None:
    done = run_captured(python(SPEAKS), LONG)
    assert (done.returncode, done.stdout, done.stderr) == (3, "one\n", "two\n")


@pytest.mark.slow
def test_a_line_is_heard_when_it_is_said_and_kept_too() -> None:
    heard: list[str] = []
    done = run_heard(python(SPEAKS), LONG, heard.append)
    assert sorted(heard) == ["one", "two"]
    assert sorted(done.stdout.split()) == ["one", "two"]
    assert done.returncode == 3


@pytest.mark.slow
def test_a_program_that_does_not_end_is_ended_and_named() -> None:
    sentence = "^-c import threading.* did not end within 0 s$"
    with pytest.raises(StartError, match=sentence):
        run_captured(python(NEVER_ENDS), SHORT)
    with pytest.raises(StartError, match=sentence):
        run_heard(python(NEVER_ENDS), SHORT, lambda _: None)


@pytest.mark.slow
def test_a_listener_that_fails_leaves_no_program_behind() -> None:
    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_heard(python(f"print('one', flush=True); {NEVER_ENDS}"), LONG, interrupted)


def test_the_reason_is_what_was_said_last() -> None:
    assert last_line(Done([], 1, "trying\n", "no such thing\n\n")) == "no such thing"
    assert last_line(Done([], -9, "", "")) == "exit status -9"
