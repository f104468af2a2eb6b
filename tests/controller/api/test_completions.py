"""Completions through the plane: several prompts, token ids, echo, the old log-probabilities."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.api import api_of
from support.generators import UNKNOWN_TOKEN, OurWorker, StockWorker
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
