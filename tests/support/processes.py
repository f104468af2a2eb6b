"""Programs of ours and of others, really started on loopback, and ended by the test."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START = 240.0  # seconds a program gets to become ready on a busy two-core machine
SOON = 30.0  # seconds that something gets which takes no time on an idle machine
STOP = 30.0  # seconds it gets to end after SIGTERM
STEP = 0.05  # seconds between two looks


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody else for a minute.

    For that long it waits after the end of a connection; meanwhile only a server gets it, who asks
    for it by its number and with SO_REUSEADDR, as all ours do.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: tuple[str, int] = server.getsockname()
        with socket.create_connection(address):
            server.accept()[0].close()  # who closes first is the one that waits
    return address[1]


def wait_for(done: Callable[[], bool], what: str, seconds: float = START) -> None:
    """Return once `done()` is true; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(STEP)


def answers(url: str, method: str = "GET") -> bool:
    """Whether `url` answers 200 now."""
    try:
        return httpx.request(method, url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


class Program:
    """A process between `with` and the end of its block; what it printed is in `output`.

    `argv` is run as it is; `module` in `Program.ours` is a module of this project.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self._env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **(env or {})}
        self._dir = tempfile.TemporaryDirectory(prefix="danlu-test-")
        self._log = Path(self._dir.name) / "output"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def ours(cls, module: str, *flags: str, env: Mapping[str, str] | None = None) -> Self:
        return cls([sys.executable, "-m", module, *flags], env)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=self._env,
                cwd=self._dir.name,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not None:
            print(f"--- output of {' '.join(self.argv)} ---\n{self.output}")
        self._dir.cleanup()

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        assert self.process is not None
        return self.process.poll() is None

    def wait_until(self, done: Callable[[], bool], what: str, seconds: float = START) -> None:
        """Like `wait_for`, but a program that has ended fails at once, with its output."""

        def look() -> bool:
            assert self.running, f"{self.argv} ended while waiting for {what}:\n{self.output}"
            return done()

        wait_for(look, what, seconds)

    def wait_until_answers(self, url: str, method: str = "GET", seconds: float = START) -> None:
        self.wait_until(lambda: answers(url, method), f"{url} answers 200", seconds)

    def wait_to_end(self, seconds: float = START) -> int:
        """The exit status of a program that ends by itself."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the program and whatever it started; its exit status."""
        assert self.process is not None
        if self.running:
            self.process.send_signal(number)
        try:
            status = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            status = self.process.wait(STOP)
        return status
