"""Models of random weights, which know no JSON at all, write what was asked for."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.card import examples
from support.devices import FakeDevice
from support.glm import glm_loaded
from support.tiny import END, tiny_loaded

from danlu.adapters.models.loading import LoadedModel
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.job import Piece
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.thread_engine import ThreadEngine

ROOM = 600  # tokens; a new line's indent may be dozens of them
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "城市": {"enum": ["北京", "上海"]},
        "ok": {"type": "boolean"},
        "n": {"type": "integer", "minimum": 1, "maximum": 30},
    },
    "required": ["城市", "ok", "n"],
    "additionalProperties": False,
}
MODELS: dict[str, Callable[..., LoadedModel]] = {"llama": tiny_loaded, "chatglm": glm_loaded}
MESSAGES = [{"role": "user", "content": "你好"}]


def answers(name: str, *asked: dict[str, Any]) -> list[list[Piece]]:
    """The pieces of each answer, given at the same time."""
    engine = ThreadEngine(MODELS[name](context_length=ROOM), FakeDevice())
    try:
        boxes = []
        for fields in asked:
            body = {"messages": MESSAGES, "echo": False, "max_new_tokens": ROOM, **fields}
            boxes.append(ThreadOutbox())
            engine.submit(engine.admit(GenerateBody.model_validate(body)), boxes[-1])
        return [list(box) for box in boxes]
    finally:
        engine.close()


def answer(name: str, **fields: Any) -> list[Piece]:
    (pieces,) = answers(name, fields)
    return pieces


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def follows(text: str) -> bool:
    said = json.loads(text)
    return (
        list(said) == ["城市", "ok", "n"]
        and said["城市"] in ("北京", "上海")
        and isinstance(said["ok"], bool)
        and 1 <= said["n"] <= 30
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_says_follows_the_schema_greedy_and_sampled(name: str) -> None:
    wanted = {"structured_outputs": {"json": SCHEMA}}
    ways = [{"temperature": 0.0}, {"temperature": 0.0, "repetition_penalty": 1.3}]
    ways += [{"seed": seed, "temperature": 1.5} for seed in range(examples(40))]
    ways += [{"seed": seed, "top_k": 3, "presence_penalty": 1.0} for seed in range(examples(10))]
    for pieces in answers(name, *({**wanted, **way} for way in ways)):
        assert follows(text_of(pieces)), text_of(pieces)
        assert pieces[-1].finish_reason == "stop"


@pytest.mark.parametrize("name", MODELS)
def test_a_structure_is_the_whole_text_and_white_space_is_not_cut_off(name: str) -> None:
    texts = [" a ", "\n\n[[训练时间]]"]
    asked = [{"structured_outputs": {"choice": [text]}} for text in texts]
    assert [text_of(pieces) for pieces in answers(name, *asked)] == texts


def test_a_cut_answer_says_so() -> None:
    wanted: Any = {"regex": "(ab){50}"}
    pieces = answer("llama", structured_outputs=wanted, max_new_tokens=7)
    assert ("ab" * 50).startswith(text_of(pieces))
    assert pieces[-1].finish_reason == "length"
    assert pieces[-1].usage.completion_tokens == 7


def test_an_answer_that_ends_with_its_last_token_was_not_cut() -> None:
    wanted: Any = {"choice": ["a"]}
    pieces = answer("llama", structured_outputs=wanted, max_new_tokens=1)
    assert (text_of(pieces), pieces[-1].finish_reason) == ("a", "stop")
    assert pieces[-1].usage.completion_tokens == 1


def test_a_stop_text_and_an_echo_are_as_in_any_answer() -> None:
    wanted: Any = {"choice": ["abcdef"]}
    pieces = answer(
        "llama", structured_outputs=wanted, stop="de", echo=True, prompt="Q:", messages=None
    )
    assert (text_of(pieces), pieces[-1].finish_reason) == ("Q:abc", "stop")


def test_an_end_may_be_chosen_as_soon_as_the_grammar_may_end() -> None:
    wanted: Any = {"regex": "a*"}
    bias = {str(END): 100.0}
    pieces = answer("llama", structured_outputs=wanted, temperature=0.0, logit_bias=bias)
    assert (text_of(pieces), pieces[-1].finish_reason) == ("", "stop")


def test_log_probabilities_are_the_models_own() -> None:
    """Not those among what the grammar allows: there the only choice has probability one."""
    wanted: Any = {"choice": ["a"]}
    pieces = answer("llama", structured_outputs=wanted, logprobs=2)
    told = pieces[-1].logprobs
    assert told is not None and told.tokens == ["a"]
    assert told.token_logprobs[0] is not None and told.token_logprobs[0] < -0.1
    assert told.top_logprobs[0] is not None and len(told.top_logprobs[0]) == 2


def test_a_structure_for_one_leaves_the_others_alone() -> None:
    plain: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 12}
    (alone,) = answers("llama", plain)
    beside, _ = answers("llama", plain, {"structured_outputs": {"json": SCHEMA}})
    assert text_of(beside) == text_of(alone)


def test_an_engine_says_whether_it_can() -> None:
    for ends, offered in ((frozenset({END}), True), (frozenset[int](), False)):
        engine = ThreadEngine(tiny_loaded(end_ids=ends), FakeDevice())
        assert ("structured_outputs" in engine.card.parameters) is offered
        engine.close()
