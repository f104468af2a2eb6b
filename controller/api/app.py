"""The API plane as one ASGI app, a function of its settings."""

import secrets
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from ...adapters.host.answers import error_handlers
from ...adapters.host.http import Http
from ...adapters.wire.openai_answers import ALPHABET, ID_LENGTH
from ..backend import Backend
from .catalogue import Catalogue
from .embeddings import Embeddings
from .gate import KeyGate
from .generation import Generation
from .openapi import openapi
from .profiles import Profiles
from .relay import Relay
from .settings import ApiSettings
from .token_check import TokenChecker
from .worker_link import WorkerLink


def random_id() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))


def build_api(
    settings: ApiSettings,
    backend: Backend,
    http: Http,
    *,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = random_id,
) -> Starlette:
    """The app. `backend` names the workers, `http` is open while the app is served."""
    profiles = Profiles(http, settings.worker_timeout)
    relay = Relay(backend, WorkerLink(http, profiles, settings.worker_timeout), profiles)
    catalogue = Catalogue(backend, clock, new_id)
    generation = Generation(relay, clock, new_id)
    embeddings = Embeddings(relay, settings.embedding_batch_size).embeddings
    check = TokenChecker(relay).check
    return Starlette(
        routes=[
            Route("/v1/models", catalogue.models),
            Route("/v1/models/{model:path}", catalogue.model),
            Route("/v1/chat/completions", generation.chat, methods=["POST"]),
            Route("/v1/completions", generation.completions, methods=["POST"]),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/engines/{model:path}/embeddings", embeddings, methods=["POST"]),
            Route("/api/v1/chat/completions", generation.chat, methods=["POST"]),
            Route("/api/v1/token_check", check, methods=["POST"]),
            Route("/health", catalogue.health),
            Route("/ready", catalogue.ready),
            Route("/openapi.json", openapi),
        ],
        middleware=_middleware(settings),
        exception_handlers=error_handlers(),
    )


def _middleware(settings: ApiSettings) -> list[Middleware]:
    """CORS outside of the gate: a browser asks for permission without a key."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_credentials=settings.allow_credentials,
        allow_methods=settings.allowed_methods,
        allow_headers=settings.allowed_headers,
    )
    return [cors, Middleware(KeyGate, settings.api_keys)] if settings.api_keys else [cors]
