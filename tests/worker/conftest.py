"""On a simulated card every test of this room is held to the ledger; on the host there is none."""

import gc
from collections.abc import Iterator

import pytest
from npusim.ledger import Watch
from support.card import HOST, card, loading, number

from danlu.adapters.devices.device import device_named


@pytest.fixture(autouse=True)
def ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """No thread touched the card but those that are bound to it, and none touched another one.

    A test's engine is garbage after it, and in a cycle with its weights: it is collected on a bound
    thread, and not on any that Python happens to take.
    """
    if card() == HOST:
        yield
        return
    watch = Watch(number(), main="bound" in request.fixturenames)
    gc.disable()
    yield
    loading(gc.collect)
    gc.enable()
    watch.check()


@pytest.fixture
def bound() -> None:
    """The test's own thread computes, in place of a request's thread."""
    device_named(card()).bind_thread()
