"""What the API plane asks of the registry, answered in the registry's own process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .registry import Registry


class LocalBackend:
    """A `Backend` that costs no round trip. Owned by the event loop, as the registry is."""

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry, self._clock = registry, clock

    async def models(self) -> list[str]:
        return self._registry.models()

    @asynccontextmanager
    async def lease(self, model: str, avoid: frozenset[str] = frozenset()) -> AsyncIterator[str]:
        with self._registry.lease(model, avoid) as address:
            yield address

    async def lost(self, address: str) -> None:
        self._registry.lose(address, self._clock(), "a request found nobody there")
