"""Stock FastChat's model_worker and ours, same model, same question: frame by frame.

Greedy, float32, a frame every two tokens. What is the same is the same to the byte. Where we
differ on purpose, a test says how, and that stock FastChat really is as it says:

* completion_tokens counts the tokens; theirs is the index of the last one, one too small;
* the last frame comes once; theirs comes twice, first without its finish_reason;
* `logprobs` is there if asked for; theirs is null otherwise, and names no alternatives;
* half a character is held back; theirs shows U+FFFD and takes it back;
* a stop text ends the answer at its token; theirs looks for it at every second token only;
* what may begin a stop text is held back, what comes before it is shown; theirs skips the frame;
* a stop token is no part of the answer; theirs shows one that is a visible text;
* an echo is the prompt as it came; theirs has lost its special tokens;
* text is what the tokens spell; theirs closes gaps before punctuation afterwards.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import stack, stock
from support.stack import FRANCE, SMOL, Server, chat_body, frames_of, post, text_of

pytestmark = pytest.mark.slow

STOCK = "smollm2-stock"
CHAT = f"<|im_start|>user\n{FRANCE}<|im_end|>\n<|im_start|>assistant\n"
STORY = "Once upon a time"
PARIS = 7042  # the token " Paris"


@pytest.fixture(scope="module")
def theirs(our_controller: Server, smollm2_dir: Path) -> Iterator[Server]:
    """Stock FastChat's own model worker, at our controller."""
    with stock.stock_model_worker(our_controller.url, smollm2_dir, STOCK) as server:
        yield server


def asked(prompt: str, max_new_tokens: int, **more: Any) -> dict[str, Any]:
    body = {"prompt": prompt, "max_new_tokens": max_new_tokens, "temperature": 0, "echo": False}
    return {**body, **more}


def both(
    path: str, ours: Server, theirs: Server, body: dict[str, Any]
) -> tuple[httpx.Response, httpx.Response]:
    one = post(f"{ours.url}{path}", {"model": SMOL, **body})
    other = post(f"{theirs.url}{path}", {"model": STOCK, **body})
    assert one.status_code == other.status_code == 200, one.text
    return one, other


def streams(
    ours: Server, theirs: Server, body: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Our frames, and theirs made as ours are meant to be."""
    one, other = both("/worker_generate_stream", ours, theirs, body)
    return frames_of(one.content), as_ours(frames_of(other.content))


def as_ours(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stock frames, counted from one, without their double end and their empty logprobs."""
    *most, last_but_one, last = frames
    assert {**last, "finish_reason": None} == last_but_one
    return [
        _counted({k: v for k, v in f.items() if v is not None or k != "logprobs"})
        for f in [*most, last]
    ]


def _counted(frame: dict[str, Any]) -> dict[str, Any]:
    usage = dict(frame["usage"])
    usage["completion_tokens"] += 1
    usage["total_tokens"] += 1
    return {**frame, "usage": usage}


def texts(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["text"] for frame in frames]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(asked(CHAT, 24), id="an answer that ends by itself"),
        pytest.param(asked(STORY, 9), id="an answer cut on a frame"),
        pytest.param(asked(STORY, 10), id="an answer cut between two frames"),
        pytest.param(asked(STORY, 1), id="one token"),
        pytest.param(asked(STORY, 6, echo=True), id="an echo"),
        pytest.param(
            {"prompt": STORY, "max_new_tokens": 6, "temperature": 0}, id="echo by default"
        ),
        pytest.param(asked("a a a a a a a", 16, repetition_penalty=1.3), id="a repetition penalty"),
        pytest.param(asked(STORY, 6, temperature=1, top_k=1), id="the most probable of one"),
        pytest.param(asked("def f(x):\n    return", 16), id="code"),
    ],
)
def test_the_stream_is_the_same_to_the_byte(
    our_worker: Server, theirs: Server, body: dict[str, Any]
) -> None:
    one, other = both("/worker_generate_stream", our_worker, theirs, body)
    expected = as_ours(frames_of(other.content))
    assert one.content == b"".join(json.dumps(f).encode() + b"\0" for f in expected)
    whole, their_whole = both("/worker_generate", our_worker, theirs, body)
    assert whole.json() == expected[-1] == _counted(without_logprobs(their_whole.json()))


def without_logprobs(frame: dict[str, Any]) -> dict[str, Any]:
    assert frame.pop("logprobs") is None
    return frame


@pytest.mark.parametrize("prompt", ["😀🎉🚀😀🎉🚀😀🎉🚀😀", "你好，世界。你好，世界。你好，"])
def test_half_a_character_is_held_back(our_worker: Server, theirs: Server, prompt: str) -> None:
    ours, stocks = streams(our_worker, theirs, asked(prompt, 12))
    assert any("\ufffd" in text for text in texts(stocks[:-1]))
    assert all("\ufffd" not in text for text in texts(ours[:-1]))
    assert ours[-1] == stocks[-1]
    whole = {f["text"] for f in stocks if "\ufffd" not in f["text"]}
    assert whole <= set(texts(ours))
    for before, after in zip(texts(ours), texts(ours)[1:], strict=False):
        assert after.startswith(before)


@pytest.mark.parametrize("stop", ["Paris", ["Rome", "Paris"]])
def test_a_stop_text_ends_the_answer_at_its_token(
    our_worker: Server, theirs: Server, stop: str | list[str]
) -> None:
    ours, stocks = streams(our_worker, theirs, asked(CHAT, 24, stop=stop))
    assert texts(ours) == texts(stocks)
    assert texts(ours)[-1] == "The capital of France is "
    assert ours[:-1] == stocks[:-1]
    assert ours[-1]["finish_reason"] == stocks[-1]["finish_reason"] == "stop"
    assert ours[-1]["usage"]["completion_tokens"] == 6
    assert stocks[-1]["usage"]["completion_tokens"] == 7


def test_what_may_begin_a_stop_text_is_held_back_alone(our_worker: Server, theirs: Server) -> None:
    ours, stocks = streams(our_worker, theirs, asked("1, 2, 3, 4,", 24, stop=["9", ", 8"]))
    assert texts(ours)[-1] == texts(stocks)[-1] == " 5, 6, 7"
    assert ours[-1] == stocks[-1]
    assert set(texts(stocks)) < set(texts(ours))
    assert all("," not in text[-2:] for text in texts(ours))


def test_a_stop_token_is_no_part_of_the_answer(our_worker: Server, theirs: Server) -> None:
    ours, stocks = streams(our_worker, theirs, asked(CHAT, 24, stop_token_ids=[PARIS]))
    assert texts(stocks)[-1] == "The capital of France is Paris"
    assert texts(ours)[-1] == "The capital of France is"
    assert ours[:-1] == stocks[:-1]
    assert ours[-1]["usage"] == stocks[-1]["usage"]
    assert ours[-1]["finish_reason"] == stocks[-1]["finish_reason"] == "stop"


def test_an_echo_is_the_prompt_as_it_came(our_worker: Server, theirs: Server) -> None:
    ours, stocks = streams(our_worker, theirs, asked(CHAT, 6, echo=True))
    bare = CHAT.replace("<|im_start|>", "").replace("<|im_end|>", "")
    assert texts(ours) == [text.replace(bare, CHAT) for text in texts(stocks)]
    assert texts(ours) != texts(stocks)


def test_text_is_what_the_tokens_spell(our_worker: Server, theirs: Server) -> None:
    prompt = "I do n't know . I do n't know . I do"
    ours, stocks = streams(our_worker, theirs, asked(prompt, 10))
    assert texts(stocks)[-1] == "n't know. I don't know."
    assert texts(ours)[-1] == " n't know . I do n't know ."
    assert [f["usage"] for f in ours] == [f["usage"] for f in stocks]


@pytest.mark.parametrize("echo", [False, True])
def test_log_probabilities_agree_and_name_alternatives(
    our_worker: Server, theirs: Server, echo: bool
) -> None:
    body = asked("The capital of France is", 4, logprobs=1, echo=echo)
    ours, stocks = streams(our_worker, theirs, body)
    assert texts(ours) == texts(stocks)
    for one, other in zip(ours, stocks, strict=True):
        mine, stocks_own = one["logprobs"], other["logprobs"]
        assert list(mine) == list(stocks_own)
        assert mine["tokens"] == stocks_own["tokens"]
        assert mine["text_offset"] == stocks_own["text_offset"]
        assert mine["token_logprobs"] == pytest.approx(stocks_own["token_logprobs"], abs=1e-4)
        assert all(top == {} for top in stocks_own["top_logprobs"])
        assert all(top is None or len(top) >= 1 for top in mine["top_logprobs"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/model_details", {}),
        ("/count_token", {"prompt": CHAT}),
        ("/count_token", {"prompt": "你好😊"}),
        ("/count_token", {"prompt": ""}),
    ],
)
def test_what_they_say_of_the_model_is_the_same(
    our_worker: Server, theirs: Server, path: str, body: dict[str, Any]
) -> None:
    one, other = both(path, our_worker, theirs, body)
    assert one.json() == other.json()


def test_our_conversation_has_every_field_of_theirs(our_worker: Server, theirs: Server) -> None:
    """And those that newer FastChat has beside them."""
    one, other = both("/worker_get_conv_template", our_worker, theirs, {})
    mine, stocks_own = one.json()["conv"], other.json()["conv"]
    assert {key: mine[key] for key in stocks_own} == stocks_own
    assert set(mine) - set(stocks_own) <= {"system_message_vision", "max_image_size_mb"}


def test_embeddings_agree(our_worker: Server, theirs: Server) -> None:
    for texts in (["a cat"], ["a cat", "a cat that sits on the mat and sleeps"]):
        one, other = both("/worker_get_embeddings", our_worker, theirs, {"input": texts})
        assert one.json()["token_num"] == other.json()["token_num"]
        for mine, stocks_own in zip(
            one.json()["embedding"], other.json()["embedding"], strict=True
        ):
            assert mine == pytest.approx(stocks_own, abs=1e-4)


def test_their_model_worker_is_served_by_our_api(our_controller: Server, theirs: Server) -> None:
    assert STOCK in stack.models_at(our_controller.url)
    url = f"{our_controller.api}/v1/chat/completions"
    answer = post(url, chat_body(STOCK)).json()
    said = answer["choices"][0]["message"]["content"]
    assert "Paris" in said
    assert text_of(stack.events_of(post(url, chat_body(STOCK, stream=True)).text)) == said
    embedded = post(f"{our_controller.api}/v1/embeddings", {"model": STOCK, "input": "a cat"})
    assert len(embedded.json()["data"][0]["embedding"]) == 576
