"""Our ChatGLM2 worker at a stock controller, asked through a stock API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import stack, stock
from support.heart import DIFFERENCE, HELLO, NAME, by_heart
from support.stack import Server, chat_body, events_of, post, text_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def front(stock_controller: Server, chatglm2_dir: Path) -> Iterator[str]:
    """The stock API's URL. The stock release numbers separator styles in its own way."""
    numbering = ("--fastchat-version", "0.2.36")
    with (
        stack.worker(chatglm2_dir, NAME, stock_controller.url, flags=numbering),
        stock.stock_api(stock_controller.url) as server,
    ):
        yield server.url


def test_the_stock_api_gets_the_answer_word_for_word(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(NAME, HELLO, max_tokens=256)).json()
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == by_heart(HELLO)
    assert choice["finish_reason"] == "stop"


def test_the_stock_api_streams_it_without_losing_a_character(front: str) -> None:
    body = chat_body(NAME, HELLO, max_tokens=256, stream=True)
    assert text_of(events_of(post(f"{front}/v1/chat/completions", body).text)) == by_heart(HELLO)


def test_the_stock_api_writes_the_rounds_of_a_conversation(front: str) -> None:
    said = [
        {"role": "user", "content": HELLO},
        {"role": "assistant", "content": by_heart(HELLO)},
        {"role": "user", "content": DIFFERENCE},
    ]
    body = {"model": NAME, "messages": said, "temperature": 0, "max_tokens": 1024}
    answer = post(f"{front}/v1/chat/completions", body).json()
    assert answer["choices"][0]["message"]["content"] == by_heart(HELLO, DIFFERENCE)
