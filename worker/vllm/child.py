"""One child process on a thread of its own: started, listened to, and ended for certain.

The thread lives as long as the child, because the kernel ends the child with it (see tether): also
where the worker is killed, nothing goes on computing.
"""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

log = logging.getLogger(__name__)

TETHER = (sys.executable, "-m", "danlu.adapters.host.tether")
LINGER = 2.0  # seconds; what is in the pipe is read in milliseconds
KEPT = 5  # last lines that are told of a child that has ended
SHARDS = re.compile(r"shards:\s+(\d+)%")


class Child:
    """`ended` is its exit status, once it has one. The lines are the thread's, others read them."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.ended: Future[int] = Future()
        self.loaded = 0.0  # of the weights, as far as its lines tell
        self._lines: deque[str] = deque(maxlen=KEPT)  # appended to and copied whole: no lock
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str]  # the thread's first deed
        started: Future[None] = Future()
        threading.Thread(
            target=self._run, args=(argv, env, started), name="child", daemon=True
        ).start()
        started.result()

    @property
    def last_words(self) -> str:
        return " | ".join(tuple(self._lines)) or "it said nothing"

    @property
    def last_line(self) -> str:
        lines = tuple(self._lines)
        return lines[-1] if lines else ""

    def on_loss(self, tell: Callable[[int], None]) -> None:
        """Call `tell` with the status when it ends without having been asked to."""

        def judge(ended: "Future[int]") -> None:
            if not self._stopping.is_set():
                tell(ended.result())

        self.ended.add_done_callback(judge)

    def stop(self, grace: float) -> None:
        """Ask it to end, and make it end, with all that it started, after `grace` seconds."""
        self._stopping.set()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self.ended.result(grace)
        except TimeoutError:
            self._kill_all()
            self.ended.result(LINGER * 2)

    def _run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        started: "Future[None]",
    ) -> None:
        try:
            process = subprocess.Popen(
                [*TETHER, str(os.getpid()), *argv],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except BaseException as exc:
            started.set_exception(exc)
            return
        self._process = process
        started.set_result(None)
        listening = threading.Thread(target=self._listen, args=(process,), name="hear", daemon=True)
        listening.start()
        status = process.wait()
        self._kill_all()  # whatever it started may hold the cards, and its pipe
        listening.join(LINGER)
        self.ended.set_result(status)

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None, "it was started with a pipe"
        with process.stdout as lines:
            for line in lines:
                self._hear(line.rstrip())

    def _hear(self, line: str) -> None:
        if not line:
            return
        self._lines.append(line)
        if found := SHARDS.search(line):
            self.loaded = int(found[1]) / 100
        log.info("%s", line)

    def _kill_all(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own
