"""A hundred readers who leave halfway: through the API, and directly at the worker.

Each asks for more text than the machine could make while the test may last, so an answer that
goes on without its reader shows as a queue that does not empty.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.processes import wait_for
from support.stack import FRANCE, SMOL, Stack, chat_body, post, queue_length

pytestmark = pytest.mark.slow

READERS = 100
AT_ONCE = 20  # four times what the worker runs at a time: most leave a queue, some an answer
LONG = "Tell me a story with more than a thousand words."
EMPTY = 20.0  # seconds until the queue is empty again; one answer alone would take longer


def leave_halfway(url: str, body: dict[str, Any], chunks: int) -> int:
    """Read `chunks` pieces of the answer and hang up; how many came."""
    seen = 0
    with httpx.stream("POST", url, json=body, timeout=120, trust_env=False) as answer:
        assert answer.status_code == 200
        for _ in answer.iter_raw():
            seen += 1
            if seen >= chunks:
                break
    return seen


def leave_at_once(url: str, body: dict[str, Any]) -> None:
    """Hang up before anything came: while the request waits, or in its first step."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=body, timeout=httpx.Timeout(30, read=0.3), trust_env=False)


def check_idle(whole: Stack) -> None:
    """The worker's queue is empty, so is the controller's account of it, and the next is served."""
    wait_for(lambda: queue_length(whole.worker.url) == 0, "the worker's queue is empty", EMPTY)
    wait_for(lambda: queue_length(whole.controller.url) == 0, "the controller's too", EMPTY)
    answer = post(f"{whole.api}/v1/chat/completions", chat_body(SMOL, FRANCE)).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]


def test_a_hundred_streams_through_the_api(whole: Stack) -> None:
    url = f"{whole.api}/v1/chat/completions"
    body = chat_body(SMOL, LONG, stream=True, max_tokens=1500)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = list(pool.map(lambda n: leave_halfway(url, body, 2 + n % 4), range(READERS)))
    assert min(seen) >= 2
    check_idle(whole)


def test_a_hundred_streams_at_the_worker(whole: Stack) -> None:
    leave_frames(whole, whole.worker.url, READERS)


def test_streams_through_the_controllers_relay(whole: Stack) -> None:
    leave_frames(whole, whole.controller.url, AT_ONCE)


def leave_frames(whole: Stack, base: str, readers: int) -> None:
    url = f"{base}/worker_generate_stream"
    body = {"model": SMOL, "prompt": LONG, "temperature": 0, "max_new_tokens": 1500}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = list(pool.map(lambda n: leave_halfway(url, body, 1 + n % 4), range(readers)))
    assert min(seen) >= 1
    check_idle(whole)


def test_a_hundred_readers_who_do_not_wait_for_the_first_word(whole: Stack) -> None:
    long = {"ignore_eos": True}  # a text that is drawn may end with its first token
    chat, bare = f"{whole.api}/v1/chat/completions", f"{whole.worker.url}/worker_generate"
    asked = [
        (chat, chat_body(SMOL, LONG, max_tokens=1500, **long)),
        (chat, chat_body(SMOL, LONG, n=4, max_tokens=1500, **long)),
        (bare, {"prompt": LONG, "max_new_tokens": 1500, **long}),
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda n: leave_at_once(*asked[n % 3]), range(READERS)))
    check_idle(whole)
