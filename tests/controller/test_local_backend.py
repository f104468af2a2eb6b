"""The API plane's view of the registry in the same process."""

import pytest

from danlu.adapters.errors import NoWorker, UnknownModel
from danlu.adapters.wire.fastchat import WorkerStatus
from danlu.controller.backend import Backend
from danlu.controller.local_backend import LocalBackend
from danlu.controller.registry import Registry


def a_backend() -> tuple[Backend, Registry]:
    registry = Registry(90)
    for address, model in (("http://one", "b"), ("http://two", "a")):
        status = WorkerStatus(model_names=[model], speed=1, queue_length=0)
        registry.join(address, status, now=0)
    return LocalBackend(registry, clock=lambda: 1.0), registry


@pytest.mark.anyio
async def test_models_are_sorted() -> None:
    backend, _ = a_backend()
    assert await backend.models() == ["a", "b"]


@pytest.mark.anyio
async def test_a_lease_counts_until_its_block_is_left() -> None:
    backend, registry = a_backend()
    async with backend.lease("b") as address:
        assert (address, registry.load(address)) == ("http://one", 1)
    assert registry.load(address) == 0


@pytest.mark.anyio
async def test_nobody_who_serves_and_nobody_who_can_be_reached_are_told_apart() -> None:
    backend, _ = a_backend()
    with pytest.raises(UnknownModel, match="nobody serves model 'c'"):
        async with backend.lease("c"):
            pass
    with pytest.raises(NoWorker):
        async with backend.lease("b", frozenset({"http://one"})):
            pass


@pytest.mark.anyio
async def test_a_worker_that_was_lost_is_given_to_nobody() -> None:
    backend, _ = a_backend()
    await backend.lost("http://one")
    assert await backend.models() == ["a"]
