"""Runs another program to its end, within a time; what it says is kept, or heard at once."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from ..adapters.errors import StartError

Done = subprocess.CompletedProcess[str]
Run = Callable[[Sequence[str], float], Done]
Hear = Callable[[str], None]


def run_captured(argv: Sequence[str], seconds: float) -> Done:
    """Raises StartError if it takes too long."""
    try:
        return subprocess.run(
            argv, timeout=seconds, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as exc:
        raise _too_slow(argv, seconds) from exc


def run_heard(argv: Sequence[str], seconds: float, hear: Hear) -> Done:
    """As above; every line is given to `hear` when it is said. It cannot outlive this process."""
    tether = (sys.executable, "-m", "danlu.adapters.host.tether", str(os.getpid()))
    said: list[str] = []
    expired = threading.Event()
    with subprocess.Popen(
        [*tether, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:

        def expire() -> None:
            expired.set()
            process.kill()

        limit = threading.Timer(seconds, expire)
        limit.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                hear(line.rstrip())
            status = process.wait()
        finally:
            limit.cancel()
            process.kill()
    if expired.is_set():
        raise _too_slow(argv, seconds)
    return Done(argv, status, "".join(said), "")


def last_line(done: Done) -> str:
    """What a failed program said last: its reason."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.returncode}"


def _too_slow(argv: Sequence[str], seconds: float) -> StartError:
    return StartError(f"{' '.join(argv[1:4])} did not end within {seconds:.0f} s")
