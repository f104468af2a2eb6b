"""Completions through the plane: several prompts, token ids, echo, the old log-probabilities."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.api import api_of
from support.generators import (
    OF_THE_PROMPT,
    OUR_PARAMETERS,
    UNKNOWN_TOKEN,
    OurWorker,
    StockWorker,
    logprobs,
    usage,
)
from support.script import NAME
from support.stack import events_of


class Plane:
    def __init__(self, url: str, worker: OurWorker | StockWorker) -> None:
        self.url, self.worker = url, worker

    def ask(self, prompt: Any = "P", **fields: Any) -> httpx.Response:
        body = {"model": NAME, "prompt": prompt, **fields}
        return httpx.post(f"{self.url}/v1/completions", json=body, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def ours() -> Iterator[Plane]:
    worker = OurWorker()
    with api_of(worker) as (url, _):
        yield Plane(url, worker)


@pytest.fixture(scope="module")
def stock() -> Iterator[Plane]:
    worker = StockWorker()
    with api_of(worker) as (url, _):
        yield Plane(url, worker)


def test_a_prompt_goes_to_the_worker_as_it_is(ours: Plane, stock: Plane) -> None:
    for plane in (ours, stock):
        assert plane.ask("  a\n", echo=True).status_code == 200
        body = plane.worker.bodies[-1]
        assert (body["prompt"], body["echo"], body["max_new_tokens"]) == ("  a\n", True, 16)


def test_every_prompt_has_n_choices_in_its_order(ours: Plane) -> None:
    told = ours.ask(["a", "bb"], n=2, seed=1).json()
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2, 3]
    assert told["usage"] == {
        "prompt_tokens": 3 + 4,
        "total_tokens": 3 + 4 + 12,
        "completion_tokens": 12,
    }
    seeds = sorted((body["prompt"], body["seed"]) for body in ours.worker.bodies[-4:])
    assert seeds == [("a", 1), ("a", 2), ("bb", 1), ("bb", 2)]


def test_many_prompts_take_their_turns(ours: Plane) -> None:
    told = ours.ask(["p"] * 100).json()
    assert len(told["choices"]) == 100
    assert {choice["text"] for choice in told["choices"]} == {"All is well."}


def test_token_ids_go_to_our_worker_as_they_are(ours: Plane) -> None:
    assert ours.ask([1, 2]).status_code == 200
    assert ours.worker.bodies[-1]["prompt_token_ids"] == [1, 2]
    assert len(ours.ask([[1], [2]]).json()["choices"]) == 2


def test_token_ids_that_our_worker_refuses_are_the_clients_prompt(ours: Plane) -> None:
    error = ours.ask([UNKNOWN_TOKEN]).json()["error"]
    assert (error["message"], error["param"]) == ("99 is too large - 'prompt'", "prompt")


def test_token_ids_are_refused_for_a_stock_worker(stock: Plane) -> None:
    """FastChat's server decodes them with another model's tokenizer."""
    answer = stock.ask([1, 2])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")


def test_log_probabilities_are_in_the_completions_style(ours: Plane) -> None:
    logprobs = ours.ask(logprobs=1).json()["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["All ", "is ", "well."]
    assert ours.worker.bodies[-1]["logprobs"] == 1
    assert ours.ask().json()["choices"][0]["logprobs"] is None


def test_a_stream_of_several_prompts_keeps_them_apart(ours: Plane) -> None:
    events = events_of(ours.ask(["a", "b"], stream=True).text)
    for index in range(2):
        own = [c for e in events for c in e["choices"] if c["index"] == index]
        assert "".join(choice["text"] for choice in own) == "All is well."
        assert own[-1] == {"index": index, "text": "", "logprobs": None, "finish_reason": "stop"}


class ChancyWorker(OurWorker):
    """Its answer is named for its seed; the odder the seed, the better the answer."""

    def frames(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        seed = body["seed"]
        word = f"of {seed}"
        scores = {**logprobs(word), "token_logprobs": [-1.0 if seed % 2 else -2.0]}
        return [
            {
                "delta": word,
                "error_code": 0,
                "usage": usage(3, 1),
                "finish_reason": "stop",
                **({"logprobs": scores} if "logprobs" in body else {}),
            }
        ]


def test_of_best_of_answers_the_best_are_told_and_all_are_counted() -> None:
    worker = ChancyWorker()
    with api_of(worker) as (url, _):
        answer = Plane(url, worker).ask(["a", "b"], n=2, best_of=4, seed=10).json()
    assert [choice["text"] for choice in answer["choices"]] == ["of 11", "of 13"] * 2
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert all(choice["logprobs"] is None for choice in answer["choices"]), "nobody asked for them"
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 14, "completion_tokens": 8}
    assert sorted(body["seed"] for body in worker.bodies) == [10, 10, 11, 11, 12, 12, 13, 13]
    assert {body["logprobs"] for body in worker.bodies} == {0}
    assert not any("best_of" in body or "n" in body for body in worker.bodies)


def test_the_best_answers_have_the_log_probabilities_that_were_asked_for() -> None:
    worker = ChancyWorker()
    with api_of(worker) as (url, _):
        (choice,) = Plane(url, worker).ask(best_of=2, seed=2, logprobs=3).json()["choices"]
    assert choice["logprobs"]["token_logprobs"] == [-1.0]
    assert {body["logprobs"] for body in worker.bodies} == {3}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"best_of": 1, "n": 2}, "1 is less than 'n', 2"),
        ({"best_of": 2, "stream": True}, "cannot be streamed"),
    ],
)
def test_a_best_of_that_cannot_be_is_a_400(ours: Plane, fields: Any, words: str) -> None:
    answer = ours.ask(**fields)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_best_of_is_refused_by_name_where_nothing_tells_answers_apart() -> None:
    worker = OurWorker(sorted({*OUR_PARAMETERS} - {"logprobs"}))
    with api_of(worker) as (url, _):
        error = Plane(url, worker).ask(best_of=2).json()["error"]
    assert error["param"] == "best_of" and "'best_of' is not supported" in error["message"]
    assert worker.bodies == []


def test_best_of_at_a_stock_worker_without_log_probabilities_is_a_400(stock: Plane) -> None:
    """FastChat's for ChatGLM knows the field and gives none."""
    answer = stock.ask(best_of=2)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "best_of")


def test_what_was_made_of_a_prompt_is_asked_once_and_told_of_every_choice(ours: Plane) -> None:
    choices = ours.ask(["a", "b"], n=2, prompt_logprobs=1).json()["choices"]
    assert [choice["prompt_logprobs"] for choice in choices] == [OF_THE_PROMPT] * 4
    asked = [body for body in ours.worker.bodies[-4:] if "prompt_logprobs" in body]
    assert sorted((body["prompt"], body["prompt_logprobs"]) for body in asked) == [
        ("a", 1),
        ("b", 1),
    ]
    assert "prompt_logprobs" not in ours.ask().json()["choices"][0]


def test_a_stream_tells_what_was_made_of_each_prompt_before_its_text(ours: Plane) -> None:
    events = events_of(ours.ask(["a", "b"], n=2, stream=True, prompt_logprobs=1).text)
    for index in range(4):
        own = [c for e in events for c in e["choices"] if c["index"] == index]
        about = [place for place, choice in enumerate(own) if "prompt_logprobs" in choice]
        assert about == ([] if index % 2 else [0]), "once a prompt, with its first choice"
        assert "".join(choice["text"] for choice in own) == "All is well."
    assert own[0]["text"] == "All "
