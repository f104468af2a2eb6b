"""The OpenAPI 3.1 document of the API plane, made from the bodies that the routes parse."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ... import __version__
from ...adapters.wire.openai import (
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    TokenChecks,
)

POSTS: dict[str, tuple[type[BaseModel], str]] = {
    "/v1/chat/completions": (ChatRequest, "an answer to a conversation, whole or as events"),
    "/v1/completions": (CompletionRequest, "a text's continuation, whole or as events"),
    "/v1/embeddings": (EmbeddingsRequest, "one vector a text"),
    "/v1/engines/{model}/embeddings": (EmbeddingsRequest, "the same, the model in the path"),
    "/api/v1/chat/completions": (ChatRequest, "FastChat's path of /v1/chat/completions"),
    "/api/v1/token_check": (TokenChecks, "whether prompts and answers fit the context"),
}
GETS = {
    "/v1/models": "the models that are served",
    "/v1/models/{model}": "one model",
    "/health": "whether this program runs",
    "/ready": "whether a model is served",
}
ERROR = {
    "type": "object",
    "description": "OpenAI's envelope, with FastChat's fields beside it",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
            "required": ["message", "type", "param", "code"],
        },
        "object": {"const": "error"},
        "message": {"type": "string"},
        "code": {"type": "integer"},
    },
    "required": ["error", "object", "message", "code"],
}


async def openapi(_: Request) -> Response:
    return JSONResponse(document())


def document() -> dict[str, Any]:
    kinds = {kind for kind, _ in POSTS.values()}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in ordered],
        ref_template="#/components/schemas/{model}",
    )
    posts = {path: {"post": _operation(path, says, kind)} for path, (kind, says) in POSTS.items()}
    gets = {path: {"get": _operation(path, says, None)} for path, says in GETS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "danlu", "version": __version__},
        "paths": {**gets, **posts},
        "components": {
            "schemas": {**schemas["$defs"], "Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(path: str, says: str, kind: type[BaseModel] | None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": says,
        "responses": {
            "200": {"description": says},
            "default": {"description": "an error", "content": _json("Error")},
        },
    }
    if "{model}" in path:
        where = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [where]
    if kind is not None:
        operation["requestBody"] = {"required": True, "content": _json(kind.__name__)}
    return operation


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
