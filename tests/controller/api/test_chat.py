"""Chats through the plane: what the worker is asked, what the client gets."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.api import api_of
from support.generators import OF_THE_PROMPT, OUR_PARAMETERS, OurWorker, StockWorker
from support.script import CONTEXT, NAME
from support.stack import events_of, text_of

PATH = "/v1/chat/completions"


class Plane:
    """A worker, and the API in front of it."""

    def __init__(self, url: str, worker: OurWorker | StockWorker) -> None:
        self.url, self.worker = url, worker

    def ask(self, text: str = "Q", **fields: Any) -> httpx.Response:
        body = {"model": NAME, "messages": [{"role": "user", "content": text}], **fields}
        return httpx.post(self.url + PATH, json=body, trust_env=False, timeout=30)

    def asked(self, text: str = "Q", **fields: Any) -> dict[str, Any]:
        """The generation body that the worker got."""
        assert self.ask(text, **fields).status_code == 200
        return self.worker.bodies[-1]


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


def test_our_worker_gets_the_messages_and_is_asked_for_deltas(ours: Plane) -> None:
    assert ours.asked(temperature=0, stop="x") == {
        "model": NAME,
        "echo": False,
        "temperature": 0,
        "top_p": 1.0,
        "stop": ["x"],
        "delta": True,
        "messages": [{"role": "user", "content": "Q"}],
        "max_new_tokens": CONTEXT,
    }


def test_a_stock_worker_gets_a_prompt_and_what_the_context_has_left(stock: Plane) -> None:
    """20 tokens of prompt; one is kept free, or FastChat's worker cuts the prompt's first."""
    assert stock.asked() == {
        "model": NAME,
        "echo": False,
        "temperature": 0.7,
        "top_p": 1.0,
        "prompt": "[Round 1]\n\n问：Q\n\n答：",
        "stop": [],
        "stop_token_ids": [],
        "max_new_tokens": CONTEXT - 20 - 1,
    }


def test_a_limit_of_the_client_is_kept_and_fitted_into_the_context(
    ours: Plane, stock: Plane
) -> None:
    assert ours.asked(max_tokens=5)["max_new_tokens"] == 5
    assert ours.asked(max_completion_tokens=10_000)["max_new_tokens"] == CONTEXT
    assert stock.asked(max_tokens=5)["max_new_tokens"] == 5
    assert stock.asked(max_tokens=10_000)["max_new_tokens"] == CONTEXT - 20 - 1


ASKED: dict[str, Any] = {
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"5": 1.0},
    "min_tokens": 1,
    "stop": ["x"],
    "stop_token_ids": [5],
    "ignore_eos": True,
    "seed": 7,
    "prompt_logprobs": 2,
    "priority": -3,
}


def test_every_parameter_reaches_our_worker(ours: Plane) -> None:
    body = ours.asked(**ASKED)
    assert {name: body[name] for name in ASKED} == ASKED


@pytest.mark.parametrize(
    "name",
    ["min_p", "logit_bias", "min_tokens", "ignore_eos", "seed", "prompt_logprobs", "priority"],
)
def test_what_a_stock_worker_does_not_know_is_refused_by_name(stock: Plane, name: str) -> None:
    before = len(stock.worker.bodies)
    answer = stock.ask(**{name: ASKED[name]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name
    assert len(stock.worker.bodies) == before, "the worker was not asked"


def test_what_a_stock_worker_knows_reaches_it(stock: Plane) -> None:
    known = ("top_k", "repetition_penalty", "presence_penalty", "frequency_penalty")
    body = stock.asked(**{name: ASKED[name] for name in (*known, "stop", "stop_token_ids")})
    assert {name: body[name] for name in known} == {name: ASKED[name] for name in known}
    assert (body["stop"], body["stop_token_ids"]) == (["x"], [5])


def test_alternatives_of_tokens_are_refused_where_the_worker_has_none(stock: Plane) -> None:
    assert stock.ask(logprobs=True).status_code == 200
    answer = stock.ask(logprobs=True, top_logprobs=2)
    assert answer.json()["error"]["param"] == "top_logprobs"


def test_a_worker_of_ours_may_honour_less() -> None:
    worker = OurWorker(sorted(set(OUR_PARAMETERS) - {"logit_bias"}))
    with api_of(worker) as (url, _):
        answer = Plane(url, worker).ask(logit_bias={"1": 5})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "logit_bias")


def test_the_answer_is_the_workers_text_and_counts(ours: Plane) -> None:
    told = ours.ask().json()
    assert told["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "All is well."},
            "finish_reason": "stop",
        }
    ]
    assert told["usage"] == {"prompt_tokens": 3, "total_tokens": 6, "completion_tokens": 3}
    assert told["id"] == "chatcmpl-ID"


def test_log_probabilities_are_in_the_chats_style(ours: Plane) -> None:
    told = ours.ask(logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]
    assert [one["token"] for one in told["content"]] == ["All ", "is ", "well."]
    assert told["content"][0]["top_logprobs"][1] == {
        "token": "X",
        "logprob": -9999.0,
        "bytes": [88],
    }
    assert ours.worker.bodies[-1]["logprobs"] == 2


def test_what_was_made_of_the_prompt_stands_beside_the_choices(ours: Plane) -> None:
    told = ours.ask(n=2, prompt_logprobs=0).json()
    assert told["prompt_logprobs"] == OF_THE_PROMPT
    assert sum("prompt_logprobs" in body for body in ours.worker.bodies[-2:]) == 1
    events = events_of(ours.ask(stream=True, prompt_logprobs=0).text)
    assert [event.get("prompt_logprobs") for event in events[:3]] == [None, OF_THE_PROMPT, None]
    assert text_of(events) == "All is well."


def test_a_stream_says_the_same_as_a_whole_answer(ours: Plane) -> None:
    answer = ours.ask(stream=True, logprobs=True)
    events = events_of(answer.text)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert text_of(events) == "All is well."
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant"} and deltas[-1] == {}
    assert all(e["choices"][0]["logprobs"]["content"] for e in events[1:-1])


def test_n_answers_have_seeds_of_their_own_and_one_prompt(ours: Plane) -> None:
    told = ours.ask(n=3, seed=7).json()
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2]
    assert sorted(body["seed"] for body in ours.worker.bodies[-3:]) == [7, 8, 9]
    assert told["usage"] == {"prompt_tokens": 3, "total_tokens": 12, "completion_tokens": 9}


def test_n_answers_are_numbered_for_a_worker_that_has_a_seed(ours: Plane, stock: Plane) -> None:
    ours.ask(n=3)
    assert sorted(body.get("choice", 0) for body in ours.worker.bodies[-3:]) == [0, 1, 2]
    stock.ask(n=2)
    assert not any("choice" in body for body in stock.worker.bodies[-2:])


def test_a_stream_tells_its_usage_if_asked_to(ours: Plane) -> None:
    options = {"include_usage": True}
    events = events_of(ours.ask(stream=True, n=2, stream_options=options).text)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {
        "prompt_tokens": 3,
        "total_tokens": 9,
        "completion_tokens": 6,
    }
    assert all(event["usage"] is None for event in events[:-1])
    assert all("usage" not in event for event in events_of(ours.ask(stream=True).text))


def test_each_choice_of_a_stream_has_one_beginning_and_one_end(ours: Plane) -> None:
    events = events_of(ours.ask(stream=True, n=3).text)
    for index in range(3):
        own = [c for e in events for c in e["choices"] if c["index"] == index]
        assert [c["delta"] for c in own if "role" in c["delta"]] == [{"role": "assistant"}]
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == ["stop"]
        assert own[-1]["finish_reason"] == "stop"
        assert "".join(c["delta"].get("content", "") for c in own) == "All is well."


def test_a_request_to_a_known_worker_of_ours_is_one_question(ours: Plane) -> None:
    ours.ask()
    before = len(ours.worker.asked)
    ours.ask()
    ours.ask(stream=True)
    assert ours.worker.asked[before:] == ["/worker_generate_stream"] * 2


def test_a_request_to_a_known_stock_worker_only_counts_before(stock: Plane) -> None:
    stock.ask()
    before = len(stock.worker.asked)
    stock.ask()
    assert stock.worker.asked[before:] == ["/count_token", "/worker_generate_stream"]


def test_a_stock_workers_whole_answer_is_its_last_text() -> None:
    """Even where it took back what it had said."""
    worker = StockWorker(("abc", "aXc", "aXcd"))
    with api_of(worker) as (url, _):
        told = Plane(url, worker).ask().json()
    assert told["choices"][0]["message"]["content"] == "aXcd"


def test_an_answer_without_a_text_is_an_answer() -> None:
    worker = StockWorker(("",))
    with api_of(worker) as (url, _):
        assert Plane(url, worker).ask().json()["choices"][0]["message"]["content"] == ""
        events = events_of(Plane(url, worker).ask(stream=True).text)
    assert [e["choices"][0]["finish_reason"] for e in events] == [None, "stop"]
