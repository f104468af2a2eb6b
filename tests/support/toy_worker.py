"""A worker of a few lines on a real port, in the test's own event loop.

It speaks FastChat's wire as far as a controller asks it. A test scripts it by plain attributes, and
it does what a framework would not let it do: die in the middle of a frame, or never answer.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from danlu.adapters.wire.frames import encode


class Deed:
    """Something that a toy worker does in place of sending bytes."""


DIE = Deed()  # break the connection off
HANG = Deed()  # send nothing more until the reader leaves

HEAD = (
    "HTTP/1.1 {status} -\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
    "Location: /elsewhere\r\n\r\n"  # for a status that sends elsewhere; others ignore it
)


def a_frame(text: str, finish_reason: str | None = None) -> bytes:
    return encode({"text": text, "error_code": 0, "usage": {}, "finish_reason": finish_reason})


class ToyWorker:
    """Listens between `async with` and the end of its block, or until `stop`."""

    def __init__(self, *models: str, port: int = 0) -> None:
        self.models = models or ("toy",)
        self.queue_length = 0
        self.status = 200  # of every answer
        self.says: Sequence[bytes | Deed] = (a_frame("hi"), a_frame("hi", "stop"))
        self.tells: Sequence[bytes | Deed] | None = None  # in place of its status
        self.paths: dict[str, Sequence[bytes | Deed]] = {}  # said there, with 200
        self.asked: list[tuple[str, Any]] = []
        self.left = asyncio.Event()  # a reader went before the end
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """From now on connections are refused, and those that were open are gone."""
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def registration(self, **more: Any) -> dict[str, Any]:
        return {
            "worker_name": self.address,
            "check_heart_beat": True,
            "worker_status": self._status(),
            **more,
        }

    def _status(self) -> dict[str, Any]:
        return {"model_names": [*self.models], "speed": 1, "queue_length": self.queue_length}

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        whole = False
        try:
            whole = await self._answer(reader, writer)
        except asyncio.CancelledError:
            pass  # by `stop`; a cancelled handler would be reported by the server
        finally:
            self._tasks.discard(task)
            if not whole:
                writer.transport.abort()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be closed in peace."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return True  # somebody knocked
        raw = await reader.readexactly(_length(head))
        path = head.split()[1]
        self.asked.append((path, json.loads(raw) if raw else None))
        if path in self.paths:
            return await self._send(self.paths[path], reader, writer, 200)
        if path != "/worker_get_status":
            return await self._send(self.says, reader, writer)
        told = [json.dumps(self._status()).encode()] if self.tells is None else self.tells
        return await self._send(told, reader, writer)

    async def _send(
        self,
        parts: Sequence[bytes | Deed],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        status: int = 0,
    ) -> bool:
        head = HEAD.format(status=status or self.status)
        for number, part in enumerate(parts):
            if part is DIE:
                return False
            if part is HANG:
                with suppress(ConnectionError):
                    await reader.read()
                self.left.set()
                return True
            assert isinstance(part, bytes)
            writer.write((head.encode() if number == 0 else b"") + _chunk(part))
            await writer.drain()
        writer.write((b"" if parts else head.encode()) + b"0\r\n\r\n")
        return True


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _length(head: str) -> int:
    for line in head.splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0
