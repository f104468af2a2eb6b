"""Fixtures that every room's tests may use."""

import os
from pathlib import Path

import pytest

from danlu.cli.demo import cache_root, demo_model


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: it is what the programs run on."""
    return "asyncio"


@pytest.fixture(scope="session")
def smollm2_dir() -> Path:
    """A small real chat model as a Hugging Face directory; made once, kept in the user's cache."""
    return demo_model(cache_root(os.environ), say=print)
