"""Servers that a contender consists of: started on loopback, awaited, and ended with it."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from .lines import Missing, resident

START = 300.0  # seconds that a server gets to load its model
STOP = 20.0  # seconds that it gets to end
STEP = 0.1  # seconds between two looks


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Server:
    """A process that answers at `url`. Owned by whoever started it, who closes it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="danlu-benchmark-")
        self._log = Path(self._dir.name) / "output"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                argv,
                cwd=self._dir.name,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_answers(self, url: str, method: str = "GET", says: str = "") -> None:
        """Return once `url` answers 200 and `says` it; raises Missing, with its last words."""
        deadline = time.monotonic() + START
        while not _answers(url, method, says):
            if self._process.poll() is not None:
                raise Missing(f"{self._process.args!r} ended: {self.last_words()}")
            if time.monotonic() > deadline:
                raise Missing(f"{url} did not answer within {START:.0f} s")
            time.sleep(STEP)

    def peak(self) -> int:
        """Bytes resident at the highest."""
        return resident(self._process.pid)

    def last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP)
        self._dir.cleanup()


def _answers(url: str, method: str, says: str) -> bool:
    try:
        answer = httpx.request(method, url, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and says in answer.text
