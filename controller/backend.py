"""The seam between the API plane and the registry, in this process or in another one."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Backend(Protocol):
    """Which models are served, and by whom the next request is."""

    async def models(self) -> list[str]:
        """The names of all models served now, sorted."""
        ...

    def lease(
        self, model: str, avoid: frozenset[str] = frozenset()
    ) -> AbstractAsyncContextManager[str]:
        """The address of a worker that serves `model`, counted as busy until the block is left.

        `avoid` are addresses that failed already. Raises UnknownModel if nobody serves the model,
        NoWorker if all who do are to be avoided.
        """
        ...

    async def lost(self, address: str) -> None:
        """Nothing listens at `address`: give it to nobody any more."""
        ...
