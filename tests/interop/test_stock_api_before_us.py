"""Stock FastChat's openai_api_server in front of our worker, at our controller and at theirs."""

from collections.abc import Iterator
from typing import Any

import pytest
from support import script, stack, stock
from support.stack import FRANCE, SMOL, Server, chat_body, events_of, get, post, text_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["our_controller", "stock_controller"])
def front(request: pytest.FixtureRequest, our_worker: Server) -> Iterator[str]:
    """The URL of a stock API server that asks a controller for our worker."""
    controller: Server = request.getfixturevalue(request.param)
    with stock.stock_api(controller.url) as server:
        yield server.url


def test_our_model_is_listed(front: str) -> None:
    """The stock server has all workers asked anew for this, every time."""
    for _ in range(3):
        models = get(f"{front}/v1/models").json()["data"]
        assert SMOL in [model["id"] for model in models]


def test_a_chat_is_answered(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(SMOL)).json()
    (choice,) = answer["choices"]
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 2


def test_a_chat_is_streamed_as_it_is_answered(front: str) -> None:
    whole = post(f"{front}/v1/chat/completions", chat_body(SMOL)).json()
    answer = post(f"{front}/v1/chat/completions", chat_body(SMOL, stream=True))
    events = events_of(answer.text)
    assert text_of(events) == whole["choices"][0]["message"]["content"]
    assert len(events) > 3
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_two_choices_are_two_answers(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(SMOL, n=2)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all("Paris" in choice["message"]["content"] for choice in answer["choices"])


def completion(**more: Any) -> dict[str, Any]:
    prompt = "The capital of France is"
    return {"model": SMOL, "prompt": prompt, "temperature": 0, "max_tokens": 5, **more}


def test_a_completion_is_answered_with_logprobs(front: str) -> None:
    answer = post(f"{front}/v1/completions", completion(logprobs=1)).json()
    (choice,) = answer["choices"]
    assert "Paris" in choice["text"] and choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert len(logprobs["token_logprobs"]) == 5
    assert all(value <= 0 for value in logprobs["token_logprobs"])


def test_a_completion_is_echoed_and_stopped(front: str) -> None:
    answer = post(f"{front}/v1/completions", completion(echo=True, stop=["."])).json()
    text = answer["choices"][0]["text"]
    assert text.startswith("The capital of France is") and "." not in text
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_completion_is_streamed(front: str) -> None:
    whole = post(f"{front}/v1/completions", completion()).json()["choices"][0]["text"]
    events = events_of(post(f"{front}/v1/completions", completion(stream=True)).text)
    assert "".join(e["choices"][0]["text"] for e in events) == whole


def test_embeddings_are_unit_vectors_and_tell_meanings_apart(front: str) -> None:
    texts = ["I like my cat.", "I love my kitten.", "The stock market fell by ten percent."]
    answer = post(f"{front}/v1/embeddings", {"model": SMOL, "input": texts}).json()
    cat, kitten, market = (data["embedding"] for data in answer["data"])
    assert dot(cat, cat) == pytest.approx(1, abs=1e-3)
    assert dot(cat, kitten) > dot(cat, market)
    assert answer["usage"]["prompt_tokens"] > 10


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_tokens_are_counted(front: str) -> None:
    prompts = [{"model": SMOL, "prompt": "hello", "max_tokens": 10**6}]
    (count,) = post(f"{front}/api/v1/token_check", {"prompts": prompts}).json()["prompts"]
    assert count["tokenCount"] > 0
    assert count["contextLength"] >= 2048 and count["fits"] is False


def test_what_our_worker_refuses_is_refused(front: str) -> None:
    """Stock FastChat does not look at this number; our worker does, and says so with a 400.

    Of an answer whose status is not 200 the stock server reads no word, so the sentence reaches
    the sender in a stream only.
    """
    url = f"{front}/v1/chat/completions"
    assert post(url, chat_body(SMOL, frequency_penalty=3)).status_code == 400
    said = post(url, chat_body(SMOL, frequency_penalty=3, stream=True)).text
    assert "frequency_penalty" in said and '"error_code": 40302' in said


def test_a_prompt_longer_than_the_context_is_refused(front: str) -> None:
    answer = post(f"{front}/v1/chat/completions", chat_body(SMOL, FRANCE * 4000))
    assert answer.status_code == 400
    assert answer.json()["code"] == 40303


def test_chatglm2s_rounds_are_written_by_the_number_that_this_fastchat_knows() -> None:
    """Releases and git number styles differently; the wrong number is silently another template."""
    with (
        stock.stock_controller() as controller,
        stack.golden_worker(controller.url, "--fastchat-version", "0.2.36") as worker,
    ):
        stack.wait_until_served(controller.url, script.NAME, worker.program)
        with stock.stock_api(controller.url) as server:
            answer = post(f"{server.url}/v1/chat/completions", chat_body(script.NAME, "Q")).json()
    prompt = len("[Round 1]\n\n问：Q\n\n答：") + script.PREFIX
    assert answer["usage"]["prompt_tokens"] == prompt
    assert answer["choices"][0]["message"]["content"] == script.ANSWER
