"""The API plane on a real socket in front of workers of tests, and the backend that knows them."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from danlu.adapters.errors import NoWorker, UnknownModel
from danlu.adapters.host.http import Http
from danlu.controller.api.app import build_api
from danlu.controller.api.settings import ApiSettings
from danlu.controller.backend import Backend

from .generators import Worker
from .script import NAME
from .served import served


class FakeBackend:
    """Workers by address, each taken in turn; every one serves MODEL. Counts the leases."""

    def __init__(self, *addresses: str, model: str = NAME) -> None:
        self.addresses, self.model = list(addresses), model
        self.leased: list[str] = []
        self.given_back: list[str] = []
        self.gone: list[str] = []

    async def models(self) -> list[str]:
        return [self.model] if self.addresses else []

    @asynccontextmanager
    async def lease(self, model: str, avoid: frozenset[str] = frozenset()) -> AsyncIterator[str]:
        if model != self.model or not self.addresses:
            raise UnknownModel("nobody serves it")
        usable = [address for address in self.addresses if address not in avoid]
        if not usable:
            raise NoWorker("all of them failed")
        address = usable[len(self.leased) % len(usable)]
        self.leased.append(address)
        try:
            yield address
        finally:
            self.given_back.append(address)

    async def lost(self, address: str) -> None:
        self.gone.append(address)
        if address in self.addresses:
            self.addresses.remove(address)

    @property
    def open_leases(self) -> int:
        return len(self.leased) - len(self.given_back)


def housed(backend: Backend, settings: ApiSettings | None = None) -> Starlette:
    """The API plane with an HTTP client of its own, to be served on a loop of its own."""
    http = Http()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    inner = build_api(settings or ApiSettings(), backend, http, new_id=lambda: "ID")
    return Starlette(routes=[Mount("/", inner)], lifespan=lifespan)


@contextmanager
def api_of(
    *workers: Worker, settings: ApiSettings | None = None
) -> Iterator[tuple[str, FakeBackend]]:
    """The base URL of an API plane in front of `workers`, all on real sockets; its backend."""
    with _addresses(workers) as addresses:
        backend = FakeBackend(*addresses)
        with served(housed(backend, settings)) as url:
            yield url, backend


@contextmanager
def _addresses(workers: Sequence[Worker]) -> Iterator[list[str]]:
    if not workers:
        yield []
        return
    with served(workers[0].app()) as address, _addresses(workers[1:]) as others:
        yield [address, *others]
