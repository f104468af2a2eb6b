"""Embeddings, in batches, as floats or as base64 of little-endian 32-bit floats."""

import base64
import re
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...adapters.errors import BadRequest, WorkerLost
from ...adapters.host.answers import read_object
from ...adapters.host.readers import attended
from ...adapters.wire.openai import EmbeddingsRequest
from ...adapters.wire.parsing import parse
from .relay import Relay

PLACE = re.compile(r"'input\[(\d+)\]'")  # a text, as a worker names one of its batch


class Embeddings:
    """The routes /v1/embeddings and /v1/engines/{model}/embeddings."""

    def __init__(self, relay: Relay, batch: int) -> None:
        self._relay, self._batch = relay, batch

    async def embeddings(self, request: Request) -> Response:
        wanted = parse(EmbeddingsRequest, await read_object(request))
        model = wanted.model or wanted.engine or request.path_params.get("model", "")
        if not model:
            raise BadRequest("'model' is missing", param="model")
        return await attended(request.receive, self._answer(model, wanted))

    async def _answer(self, model: str, wanted: EmbeddingsRequest) -> Response:
        data: list[dict[str, Any]] = []
        tokens = 0
        for start in range(0, len(wanted.input), self._batch):
            texts = wanted.input[start : start + self._batch]
            try:
                vectors, count = await self._relay.embed(model, texts, wanted.encoding_format)
            except BadRequest as exc:
                raise _renumbered(exc, start) from exc
            if len(vectors) != len(texts):
                raise WorkerLost(f"{len(texts)} texts brought {len(vectors)} vectors")
            data += [
                {
                    "object": "embedding",
                    "embedding": _encoded(vector, wanted.encoding_format),
                    "index": start + place,
                }
                for place, vector in enumerate(vectors)
            ]
            tokens += count
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": model, "usage": usage})


def _renumbered(exc: BadRequest, start: int) -> BadRequest:
    """What a worker refuses of the batch from text `start` on, as its sender counts the texts."""
    named = PLACE.search(str(exc))
    if named is None:
        return exc
    field = f"input[{int(named[1]) + start}]"
    return type(exc)(PLACE.sub(f"'{field}'", str(exc)), param=field)


def _encoded(vector: Any, encoding: str) -> Any:
    """A worker of ours gives base64 where that is asked for, a stock one is asked for floats."""
    if encoding == "base64" and not isinstance(vector, str):
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector
