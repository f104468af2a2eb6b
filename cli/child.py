"""One child process: started, listened to line by line, and ended for certain.

Standard output and error come as one stream of lines. The child leads a session of its own, so
that Ctrl-C at the terminal reaches only its supervisor, which decides the order of ends; and it
dies with its supervisor, however that ends (see tether).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Self

LONGEST_LINE = 64 * 1024  # bytes; what is longer is shown in parts
CHUNK = 16 * 1024
LINGER = 2.0  # seconds; what is in the pipe is read in milliseconds

Listen = Callable[[str], None]


class Lines:
    """Feed it bytes cut anywhere; it gives back whole lines of text, without their ends.

    Of a line that was overwritten on a terminal (a progress bar's carriage returns) only what was
    written last is kept.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        yield from map(_shown, whole)
        if len(self._rest) > LONGEST_LINE:
            yield self.end()

    def end(self) -> str:
        """What was left without a line end."""
        rest, self._rest = self._rest, b""
        return _shown(rest)


class Child:
    """A running process. Owned by the event loop."""

    def __init__(self, process: asyncio.subprocess.Process, output: "_Output") -> None:
        self._process, self._output = process, output

    @classmethod
    async def start(cls, argv: Sequence[str], listen: Listen) -> Self:
        """Start `argv`; every line that it prints is given to `listen`."""
        tether = (sys.executable, "-m", "danlu.adapters.host.tether", str(os.getpid()))
        reading, writing = os.pipe()
        output = await _Output.listen(reading, listen)
        try:
            process = await asyncio.create_subprocess_exec(
                *tether,
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except BaseException:
            output.close()
            raise
        finally:
            os.close(writing)
        return cls(process, output)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The status it ends with, once everything that it printed was heard."""
        status = await self._process.wait()
        self.kill()  # whatever it started and left behind: nothing outlives it
        await self._output.end()
        return status

    async def stop(self, grace: float) -> None:
        """Ask it to end, and make it end if it has not after `grace` seconds."""
        self._send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace)
        self.kill()
        await self.wait()

    def kill(self) -> None:
        """End it and all that it started, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class _Output:
    """The reading end of a pipe of our own.

    With one of asyncio's, a process counts as ended only once its pipes are closed, and a pipe
    that somebody else keeps open would hide the end.
    """

    def __init__(
        self, transport: asyncio.ReadTransport, reader: asyncio.StreamReader, listen: Listen
    ) -> None:
        self._transport = transport
        self._hearing = asyncio.create_task(_hear(reader, listen), name="hear")

    @classmethod
    async def listen(cls, descriptor: int, listen: Listen) -> Self:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        return cls(transport, reader, listen)

    async def end(self) -> None:
        """Hear what is left in the pipe, but do not wait for whoever else holds it open."""
        await asyncio.wait([self._hearing], timeout=LINGER)
        self.close()

    def close(self) -> None:
        self._transport.close()
        self._hearing.cancel()


async def _hear(reader: asyncio.StreamReader, listen: Listen) -> None:
    lines = Lines()
    while data := await reader.read(CHUNK):
        for line in lines.feed(data):
            listen(line)
    if rest := lines.end():
        listen(rest)


def _shown(line: bytes) -> str:
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
