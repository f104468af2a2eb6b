"""A ChatGLM2 in the original layout, served by the whole stack: it answers word for word."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from support import stack
from support.heart import DIFFERENCE, HELLO, NAME, by_heart
from support.stack import Stack, chat_body, events_of, post, text_of

pytestmark = pytest.mark.slow

ENOUGH = 1024  # tokens; the longest answer takes about half


@pytest.fixture(scope="module")
def glm(chatglm2_dir: Path) -> Iterator[Stack]:
    with (
        stack.controller() as controller,
        stack.worker(chatglm2_dir, NAME, controller.url) as worker,
    ):
        yield Stack(controller, worker)


def test_it_answers_and_stops_by_itself(glm: Stack) -> None:
    body = chat_body(NAME, HELLO, max_tokens=ENOUGH)
    (choice,) = post(f"{glm.api}/v1/chat/completions", body).json()["choices"]
    assert choice["message"]["content"] == by_heart(HELLO)
    assert choice["finish_reason"] == "stop"


def test_a_stream_is_the_same_and_no_character_comes_in_halves(glm: Stack) -> None:
    body = chat_body(NAME, HELLO, max_tokens=ENOUGH, stream=True)
    events = events_of(post(f"{glm.api}/v1/chat/completions", body).text)
    assert text_of(events) == by_heart(HELLO)
    assert "\ufffd" not in text_of(events)
    assert len(events) > 10
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_second_round_follows_from_the_first(glm: Stack) -> None:
    """Through the openai client, with content in parts, as it samples when nobody says how."""
    client = openai.OpenAI(base_url=f"{glm.api}/v1", api_key="none")
    answer = client.chat.completions.create(
        model=NAME,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": HELLO}]},
            {"role": "assistant", "content": by_heart(HELLO)},
            {"role": "user", "content": DIFFERENCE},
        ],
    )
    assert answer.choices[0].message.content == by_heart(HELLO, DIFFERENCE)
    assert answer.usage is not None and answer.usage.completion_tokens > 100


def test_a_special_token_that_a_user_writes_is_text(glm: Stack) -> None:
    def tokens(text: str) -> int:
        body = chat_body(NAME, text, max_tokens=1)
        usage = post(f"{glm.api}/v1/chat/completions", body).json()["usage"]
        return int(usage["prompt_tokens"])

    assert tokens(f"{HELLO}[gMASK]</s>") > tokens(HELLO) + 2


def test_a_text_has_the_same_vector_whatever_is_beside_it(glm: Stack) -> None:
    texts = [HELLO, DIFFERENCE, "a"]
    vectors = [_embedded(glm, [text])[0] for text in texts]
    assert _embedded(glm, texts) == vectors


def _embedded(glm: Stack, texts: list[str]) -> list[list[float]]:
    answer = post(f"{glm.api}/v1/embeddings", {"model": NAME, "input": texts}).json()
    return [one["embedding"] for one in answer["data"]]
