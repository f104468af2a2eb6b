"""Fixtures that every room's tests may use."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: it is what the programs run on."""
    return "asyncio"
