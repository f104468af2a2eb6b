"""A worker's app around an engine, asked in this process; what its tests would else repeat."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import httpx
from starlette.applications import Starlette

from danlu.adapters.wire.frames import Decoder
from danlu.worker.app import build_app
from danlu.worker.loading import loaded
from danlu.worker.settings import WorkerSettings

from .engines import FakeEngine, Script

MODEL = "chatglm2-6b"


def an_app(engine: FakeEngine, **settings: Any) -> Starlette:
    """A worker that serves `engine` as MODEL; `settings` are fields of WorkerSettings."""
    return build_app(WorkerSettings(**{"model_names": (MODEL,), **settings}), loaded(engine))


@contextmanager
def an_engine(script: Script, **options: Any) -> Iterator[FakeEngine]:
    with closing(FakeEngine(script, **options)) as engine:
        yield engine


@asynccontextmanager
async def client_of(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reaches `app` without a socket; an exception of the app's is a 500."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        yield client


def frames_in(raw: bytes) -> list[dict[str, Any]]:
    """The frames of a stream that must be whole."""
    decoder = Decoder()
    frames = list(decoder.feed(raw))
    assert decoder.rest == b"", f"the stream ends in the middle of a frame: {decoder.rest!r}"
    return frames


def ask(prompt: str, **more: Any) -> bytes:
    """The bytes of a generation's body."""
    return json.dumps({"model": MODEL, "prompt": prompt, "echo": False, **more}).encode()
