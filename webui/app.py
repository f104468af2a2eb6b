"""The web page as an ASGI app: Gradio behind a door, its queue, and the page's own small routes."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import gradio as gr
import httpx
from gradio.routes import App as GradioApp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from ..adapters.host.answers import error_handlers
from . import words
from .backend import ChatBackend
from .calls import open_client
from .client import Client
from .door import Door, Rooted
from .handlers import Handlers
from .journal import Journal
from .page import build_page
from .served import Served
from .settings import WebuiSettings, credentials
from .tabs import keep_house

LIST_AGE = 2.0  # seconds for which the list of models is not asked for again


def build_app(settings: WebuiSettings, *, backend: ChatBackend | None = None) -> ASGIApp:
    """The whole page; `backend` in place of whoever the settings name is for tests."""
    http = open_client()
    backend = backend or Client(http, settings)
    served = Served(backend, min(LIST_AGE, settings.refresh_interval))
    journal = Journal(settings.log_dir)
    handlers = Handlers(settings, backend, served, journal)
    page = build_page(settings, handlers, votes=journal.kept)
    gradio = _gradio(page, settings)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def version(_: Request) -> Response:
        """Tells a tab whether to fetch the list of models; names none of them."""
        await served.look()
        return JSONResponse({"version": served.version})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(http)
            await stack.enter_async_context(_queue(page, gradio))
            yield

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/served", version),
            Mount("", app=Door(gradio)),
        ],
        exception_handlers=error_handlers(),
        lifespan=lifespan,
    )
    return Rooted(app, settings.gradio_root_path)


def _gradio(page: gr.Blocks, settings: WebuiSettings) -> GradioApp:
    if settings.gradio_auth_path:
        page.auth = _check(credentials(settings.gradio_auth_path))
        page.auth_message = words.LOGIN
    page.root_path = settings.gradio_root_path
    page.dev_mode = False
    page.config = page.get_config_file()
    app = GradioApp.create_app(page)
    app.user_middleware.clear()  # it answers any origin; the page has one
    return app


def _check(users: dict[str, str]) -> Callable[[str, str], bool]:
    """Whether a user has that password, in a time that tells nothing about either."""

    def right(user: str, password: str) -> bool:
        known = users.get(user, "").encode()
        return hmac.compare_digest(known, password.encode()) and user in users

    return right


@asynccontextmanager
async def _queue(page: gr.Blocks, app: GradioApp) -> AsyncGenerator[None]:
    """Runs Gradio's queue, whose steps call the app in this process, and forgets old tabs.

    Gradio's own start would call it by HTTP under the address of the first visitor's Host header
    and through whatever proxy the environment names.
    """
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
        queue = page._queue
        queue.queue_client = client
        queue.set_url("http://page/")
        tasks = [
            asyncio.create_task(queue.start_processing(), name="gradio-queue"),
            asyncio.create_task(queue.start_log_and_progress_updates(), name="gradio-progress"),
            asyncio.create_task(keep_house(app), name="forget-tabs"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
