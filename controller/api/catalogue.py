"""Which models there are, and whether anybody serves one."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...adapters.errors import NotReady
from ..backend import Backend
from .relay import unknown_model


class Catalogue:
    """The routes that list models, and the probes."""

    def __init__(
        self, backend: Backend, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._backend, self._clock, self._new_id = backend, clock, new_id

    async def models(self, _: Request) -> Response:
        names = await self._backend.models()
        return JSONResponse({"object": "list", "data": [self._card(name) for name in names]})

    async def model(self, request: Request) -> Response:
        name, names = request.path_params["model"], await self._backend.models()
        if name not in names:
            raise unknown_model(name, names)
        return JSONResponse(self._card(name))

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        names = await self._backend.models()
        if not names:
            raise NotReady("no model is served yet: no worker has registered", retry_after=5)
        return JSONResponse({"status": "ready", "models": names})

    def _card(self, name: str) -> dict[str, Any]:
        """FastChat's card of a model, whose permissions OpenAI's clients of old ask for."""
        created = int(self._clock())
        permission = {
            "id": f"modelperm-{self._new_id()}",
            "object": "model_permission",
            "created": created,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": True,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "fastchat",  # what clients of FastChat's find there
            "root": name,
            "parent": None,
            "permission": [permission],
        }
