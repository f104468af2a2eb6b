"""The programs that the interop tests share, each started once, when the first test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import script, stack, stock
from support.stack import SMOL, Server


@pytest.fixture(scope="package")
def stock_controller() -> Iterator[Server]:
    with stock.stock_controller() as server:
        yield server


@pytest.fixture(scope="package")
def our_controller() -> Iterator[Server]:
    with stack.controller() as server:
        yield server


@pytest.fixture(scope="package")
def our_worker(
    our_controller: Server, stock_controller: Server, smollm2_dir: Path
) -> Iterator[Server]:
    """Our worker, registered with both controllers; it frames as a stock worker does."""
    as_stock = ("--stream-interval", "2", "--dtype", "float32", "--conv-template", "orca-2")
    flags = (*as_stock, "--fastchat-version", "0.2.36")
    controllers = (our_controller.url, stock_controller.url)
    with stack.worker(smollm2_dir, SMOL, *controllers, flags=flags) as server:
        yield server


@pytest.fixture(scope="package")
def worker_at_ours(our_controller: Server) -> Iterator[Server]:
    """A stock worker with a scripted engine at our controller."""
    with stock.scripted_worker(our_controller.url, script.NAME) as server:
        yield server


@pytest.fixture(scope="package")
def worker_at_stock(stock_controller: Server) -> Iterator[Server]:
    """A stock worker with a scripted engine at the stock controller."""
    with stock.scripted_worker(stock_controller.url, script.NAME) as server:
        yield server
