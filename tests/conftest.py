"""Fixtures that every room's tests may use."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.lanes import Lanes
from support.processors import HERE, flags, library_of, others
from xdist.remote import Producer

if TYPE_CHECKING:  # it loads torch, which most tests can do without
    from danlu.adapters.kernels.library import Library

from danlu.adapters.cache import cache_root
from danlu.cli.demo import demo_model
from danlu.cli.demo_chatglm2 import chatglm2_model


def pytest_configure() -> None:
    """Ctrl-C counts here and in every program that a test starts, also where the suite was started
    in the background of a script, which has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
    settings.load_profile("untimed")
    # transformers copies the code of models there before it runs it; read when that is imported.
    os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="danlu-code-")
    atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)
    # How long an example takes says how busy the machine is, and nothing of the example.
    settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    """Several processes share the tests as `support/lanes.py` says."""
    return Lanes(config, log)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: it is what the programs run on."""
    return "asyncio"


@pytest.fixture(
    scope="session",
    params=[HERE, *(pytest.param(kind, marks=pytest.mark.slow) for kind in others(flags()))],
)
def own_library(request: pytest.FixtureRequest) -> "Library":
    """danlu's kernels for this processor, and for those that it can stand in for."""
    found = library_of(request.param, os.environ)
    assert found is not None, "the tests need g++"
    return found


@pytest.fixture(scope="session")
def smollm2_dir() -> Path:
    """A small real chat model as a Hugging Face directory; made once, kept in the user's cache."""
    return demo_model(cache_root(os.environ), say=print)


@pytest.fixture(scope="session")
def chatglm2_dir() -> Path:
    """A tiny ChatGLM2 in the original layout, which knows the dialogues in `cli/tiny_chatglm2` by
    heart; trained once, kept in the user's cache."""
    return chatglm2_model(cache_root(os.environ), say=print)
