"""On a simulated card every test of this room is held to the ledger; on the host there is none."""

import gc
from collections.abc import Iterator

import pytest
from npusim.ledger import Watch
from support.card import HOST, card, loading, number

from danlu.adapters.devices.device import device_named


def pytest_itemcollected(item: pytest.Item) -> None:
    """torch_npu copies a storage, which is what copying a model needs, in a way of its own."""
    if card() != HOST:
        item.add_marker(pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"))


@pytest.fixture(autouse=True)
def ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """No thread touched the card but those that are bound to it, and none touched another one.

    A test's engine is garbage after it, and in a cycle with its weights: it is collected on a bound
    thread, and not on any that Python happens to take. What was there before the test is not looked
    through, which would take longer than most tests.
    """
    if card() == HOST:
        yield
        return
    watch = Watch(number(), main="bound" in request.fixturenames)
    gc.disable()
    gc.freeze()
    yield
    loading(gc.collect)
    gc.enable()
    watch.check()


@pytest.fixture
def bound() -> None:
    """The test's own thread computes, in place of a request's thread."""
    device_named(card()).bind_thread()
