"""The OpenAPI document names what there is, and nothing that there is not."""

from typing import Any

from starlette.routing import Route

from danlu.adapters.host.http import Http
from danlu.adapters.wire.openai import ChatRequest
from danlu.controller.api.app import build_api
from danlu.controller.api.openapi import document
from danlu.controller.api.settings import ApiSettings


def test_every_route_is_in_the_document() -> None:
    app = build_api(ApiSettings(), backend=NoBackend(), http=Http())
    routes = {
        (route.path.replace(":path", ""), method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    told = {(path, method) for path, ways in document()["paths"].items() for method in ways}
    assert told == routes - {("/openapi.json", "get")}


class NoBackend:
    """Nobody asks it."""

    async def models(self) -> list[str]:
        raise AssertionError

    def lease(self, model: str, avoid: frozenset[str] = frozenset()) -> Any:
        raise AssertionError

    async def lost(self, address: str) -> None:
        raise AssertionError


def test_every_reference_leads_somewhere() -> None:
    told = document()
    schemas = told["components"]["schemas"]
    for ref in references(told):
        assert ref.removeprefix("#/components/schemas/") in schemas


def references(data: Any) -> list[str]:
    if isinstance(data, list):
        return [ref for one in data for ref in references(one)]
    if not isinstance(data, dict):
        return []
    own = [data["$ref"]] if isinstance(data.get("$ref"), str) else []
    return own + [ref for one in data.values() for ref in references(one)]


def test_a_chats_parameters_are_those_that_are_parsed() -> None:
    told = document()
    assert told["openapi"] == "3.1.0"
    chat = told["components"]["schemas"]["ChatRequest"]
    assert set(chat["properties"]) == set(ChatRequest.model_fields)
    assert chat["properties"]["tools"]["enum"] == [None, []]
    assert chat["properties"]["temperature"]["maximum"] == 2
