"""The whole stack with a real model, started once for all end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import stack
from support.stack import FRANCE, SMOL, Stack, chat_body, get, post, queue_length


@pytest.fixture(scope="package")
def whole(smollm2_dir: Path) -> Iterator[Stack]:
    with (
        stack.controller() as controller,
        stack.worker(smollm2_dir, SMOL, controller.url) as worker,
    ):
        yield Stack(controller, worker)


@pytest.fixture(scope="module")
def still_answers(whole: Stack) -> Iterator[None]:
    """Whatever the tests of a file did to the stack, it answers afterwards, and is idle."""
    yield
    answer = post(f"{whole.api}/v1/chat/completions", chat_body(SMOL, FRANCE)).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert queue_length(whole.worker.url) == 0
    assert get(f"{whole.api}/ready").status_code == 200
