"""FastChat's token check: whether prompts and the answers wanted fit a model's context."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...adapters.host.answers import read_object
from ...adapters.host.readers import attended
from ...adapters.wire.openai import TokenCheck, TokenChecks
from ...adapters.wire.parsing import parse
from .relay import Relay


class TokenChecker:
    """The route /api/v1/token_check."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def check(self, request: Request) -> Response:
        wanted = parse(TokenChecks, await read_object(request))
        return await attended(request.receive, self._answer(wanted))

    async def _answer(self, wanted: TokenChecks) -> Response:
        return JSONResponse({"prompts": [await self._one(check) for check in wanted.prompts]})

    async def _one(self, check: TokenCheck) -> dict[str, bool | int]:
        count, context = await self._relay.measure(check.model, check.prompt)
        fits = count + check.max_tokens <= context
        return {"fits": fits, "tokenCount": count, "contextLength": context}
