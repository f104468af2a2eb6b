"""The keyword arguments of `chat`."""

from typing import Any

import pytest

from danlu.adapters.errors import BadRequest, PromptTooLong
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.worker.chat_wishes import CHATGLM, Manners, body_of, room, total

ASKED = [Message(role="user", content="你好")]
CONTEXT = 32768


def body(manners: Manners = CHATGLM, **wishes: Any) -> GenerateBody:
    return body_of(ASKED, wishes, manners, CONTEXT)  # type: ignore[arg-type]


def limit(context: int = CONTEXT, manners: Manners = CHATGLM, **wishes: Any) -> int:
    return total(wishes, manners, context)  # type: ignore[arg-type]


def test_chatglms_defaults_are_the_originals() -> None:
    asked = body()
    assert (asked.temperature, asked.top_p, asked.top_k) == (0.8, 0.8, 50)
    assert limit() == 8192
    assert not asked.echo


def test_other_families_have_their_own() -> None:
    asked = body(Manners(temperature=0.2, top_p=0.9, top_k=20))
    assert (asked.temperature, asked.top_p, asked.top_k) == (0.2, 0.9, 20)
    assert limit(manners=Manners()) == CONTEXT


def test_every_wish_reaches_the_engine() -> None:
    asked = body(
        temperature=0.5, top_p=0.6, top_k=7, repetition_penalty=1.1, seed=3, max_new_tokens=9
    )
    assert (asked.temperature, asked.top_p, asked.top_k) == (0.5, 0.6, 7)
    assert (asked.repetition_penalty, asked.seed, asked.max_new_tokens) == (1.1, 3, 9)


def test_no_sampling_is_greedy_and_no_top_k_is_off() -> None:
    assert body(do_sample=False).temperature == 0
    assert body(top_k=0).top_k == -1


def test_max_length_counts_the_prompt_and_holds_beside_max_new_tokens() -> None:
    assert limit(max_length=100) == 100
    assert limit(max_length=100, max_new_tokens=5) == 100
    assert limit(max_new_tokens=5) == CONTEXT  # the default is lifted, as in transformers
    assert limit(context=64) == 64
    assert room(30, 100) == 70
    with pytest.raises(PromptTooLong, match="has 100 tokens, and max_length is 100"):
        room(100, 100)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"num_beams": 4}, "num_beams can only be 1, not 4"),
        ({"logits_processor": [1]}, r"logits_processor can only be None, not \[1\]"),
        ({"past_key_values": ()}, "past_key_values can only be None"),
        ({"return_past_key_values": True}, "return_past_key_values can only be False, not True"),
        ({"role": "observation"}, "role can only be 'user'"),
        ({"num_return_sequences": 2}, "chat has no argument 'num_return_sequences'; it has max_l"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        body(**wishes)


def test_what_the_original_passes_by_default_is_no_wish() -> None:
    plain: dict[str, Any] = {
        "num_beams": 1,
        "role": "user",
        "logits_processor": None,
        "past_key_values": None,
        "return_past_key_values": False,
    }
    assert body(**plain) == body()
