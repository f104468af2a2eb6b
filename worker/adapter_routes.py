"""The routes that load and unload adapters while the worker serves. Knows no weights."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..adapters.errors import BadRequest, StartError
from ..adapters.host.answers import read_object
from ..adapters.wire.fastchat import AdapterBody, AdapterName
from ..adapters.wire.parsing import parse
from .adapter_paths import path_below
from .engine import AnyEngine
from .shelf import Shelf


class AdapterDoor:
    """Open only where `directory` is given: no stranger has other files read."""

    def __init__(self, directory: str, engine: Callable[[], AnyEngine]) -> None:
        self._directory, self._engine = directory, engine

    async def load(self, request: Request) -> Response:
        """Answers once the adapter is served."""
        shelf = self._shelf()
        body = parse(AdapterBody, await read_object(request))
        path = path_below(self._directory, body.path)
        try:
            served = await asyncio.to_thread(shelf.load, body.name, path)
        except StartError as exc:
            raise BadRequest(str(exc), param="path") from exc
        await asyncio.wrap_future(served)
        return JSONResponse({"model_names": list(shelf.names)})

    async def unload(self, request: Request) -> Response:
        """Answers at once; requests that have begun finish with it."""
        shelf = self._shelf()
        shelf.unload(parse(AdapterName, await read_object(request)).name)
        return JSONResponse({"model_names": list(shelf.names)})

    def _shelf(self) -> Shelf:
        shelf = self._engine().adapters
        if shelf is None or not self._directory:
            raise BadRequest(
                "this worker loads no adapters while it runs; start it with --adapter-dir"
            )
        return shelf
