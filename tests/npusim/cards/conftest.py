"""Tests that run on simulated cards: in `.venv-npusim` only, started by test_on_cards.py."""

import gc
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from npusim.machine import State, here
from support.tiny import save_tiny


def _simulated() -> bool:
    try:
        return bool(version("npusim"))
    except PackageNotFoundError:
        return False


collect_ignore_glob = [] if _simulated() else ["test_*.py"]


@pytest.fixture
def machine() -> Iterator[State]:
    """This process' machine, whole again after the test: no fault, strict, nothing kept."""
    state = here()
    yield state
    state.strict, state.jit, state.compile_us = 1, 0, 0
    for card in state.card:
        card.mend()
        card.capacity = 64 << 30
    gc.collect()


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama as a Hugging Face directory."""
    return save_tiny(tmp_path_factory.mktemp("tiny"))
