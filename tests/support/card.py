"""Where the tests' models run: on the host, or on the card that $DANLU_TEST_DEVICE names.

A test names no device: it asks here, so that the same test runs on a simulated NPU. What it expects
it computes on the host.
"""

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from danlu.adapters.devices.device import device_named

VARIABLE = "DANLU_TEST_DEVICE"
HOST = "cpu"
SHARE_THERE = 5  # one in so many of hypothesis' examples is tried on a simulated card

T = TypeVar("T")
Model = TypeVar("Model")


def card() -> str:
    """The name that torch and --device know it by."""
    return os.environ.get(VARIABLE, HOST)


def number() -> int:
    """Which of the cards it is; only where it is one."""
    return int(card().partition(":")[2])


def examples(count: int) -> int:
    """How many of `count` examples to try: all on the host, which is where odd ones are found."""
    return count if card() == HOST else count // SHARE_THERE


def manners(of_the_host: T, of_a_card: T) -> list[T]:
    """Both are tried on the host, which stands in for a card; a card itself knows only its own."""
    return [of_the_host, of_a_card] if card() == HOST else [of_a_card]


def loading(work: Callable[[], T]) -> T:
    """The result of `work`, done on a thread that is bound to the card, as a worker loads."""
    bind = device_named(card()).bind_thread
    with ThreadPoolExecutor(1, thread_name_prefix="loading", initializer=bind) as thread:
        return thread.submit(work).result()


def on_card(model: Model) -> Model:
    """`model` itself, brought there."""
    if card() != HOST:
        moved: Any = model
        loading(lambda: moved.to(card()))
    return model


@cache
def twin(model: Callable[[], Model]) -> Model:
    """What a cached function makes, on the card: a second one, unless the card is the host."""
    if card() == HOST:
        return model()
    uncached: Callable[[], Model] = inspect.unwrap(model)
    return on_card(uncached())
