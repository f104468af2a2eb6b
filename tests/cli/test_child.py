"""One child process: its lines, its end, and the end of its parent."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from support.processes import SOON, wait_for

from danlu.cli.child import LONGEST_LINE, Child, Lines

WHOLE = "first\nzweite Zeile\n问：你好\n\nbar 1\rbar 2\rbar 3\r\nlast".encode()
SHOWN = ["first", "zweite Zeile", "问：你好", "", "bar 3", "last"]


@given(st.lists(st.integers(0, len(WHOLE))))
def test_lines_are_whole_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    lines, shown = Lines(), list[str]()
    edges = [0, *sorted(cuts), len(WHOLE)]
    for start, end in zip(edges, edges[1:], strict=False):
        shown += lines.feed(WHOLE[start:end])
    assert [*shown, lines.end()] == SHOWN


def test_a_line_without_an_end_is_shown_in_parts_and_not_kept_for_ever() -> None:
    lines = Lines()
    shown = [text for _ in range(4) for text in lines.feed(b"x" * LONGEST_LINE)]
    assert sum(map(len, shown)) + len(lines.end()) == 4 * LONGEST_LINE
    assert len(shown) >= 2


def test_bytes_that_are_no_text_are_shown_all_the_same() -> None:
    assert list(Lines().feed(b"\xff\n")) == ["\N{REPLACEMENT CHARACTER}"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_everything_that_it_prints_is_heard_and_its_status_known() -> None:
    heard: list[str] = []
    code = (
        "import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.exit(3)"
    )
    child = await Child.start((sys.executable, "-c", code), heard.append)
    assert await child.wait() == 3
    assert heard == ["out", "err"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_one_that_does_not_listen_to_sigterm_is_ended_all_the_same() -> None:
    heard: list[str] = []
    child = await Child.start((sys.executable, "-c", STUBBORN), heard.append)
    while not heard:  # bounded by the suite's timeout
        await asyncio.sleep(0.01)
    await child.stop(grace=0.2)
    assert await child.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.anyio
async def test_what_it_started_and_left_behind_ends_with_it() -> None:
    heard: list[str] = []
    child = await Child.start((sys.executable, "-c", LEAVES_ONE_BEHIND), heard.append)
    assert await child.wait() == 0
    wait_for(lambda: not _alive(int(heard[0])), "the grandchild ends", SOON)


@pytest.mark.slow
def test_it_dies_with_its_supervisor_even_if_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "supervisor.py"
    script.write_text(SUPERVISOR, encoding="utf-8")
    argv = [sys.executable, str(script)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert _alive(pid)
        supervisor.kill()
        wait_for(lambda: not _alive(pid), "the child ends", SOON)


def _alive(pid: int) -> bool:
    """Whether `pid` runs; one that has ended and is not yet buried does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""

LEAVES_ONE_BEHIND = """
import subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(left.pid, flush=True)
"""

SUPERVISOR = """
import asyncio, sys
from danlu.cli.child import Child

async def main():
    code = "import time; print('here'); time.sleep(60)"
    child = await Child.start((sys.executable, "-c", code), lambda _: print(child.pid, flush=True))
    await child.wait()

asyncio.run(main())
"""
