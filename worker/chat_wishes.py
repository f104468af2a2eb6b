"""The keyword arguments of `chat`, as a body for the engine. Pure: each is honoured or refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ..adapters.errors import BadRequest, PromptTooLong
from ..adapters.wire.generation import GenerateBody, Message
from ..adapters.wire.parsing import parse


class Wishes(TypedDict, total=False):
    """As in the original's `chat` and `stream_chat`, and transformers' own beside them."""

    max_length: int  # tokens of prompt and answer together
    max_new_tokens: int  # of the answer; what is given of the two, or both, holds
    do_sample: bool
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int
    num_beams: int
    role: str
    logits_processor: None
    past_key_values: None
    return_past_key_values: bool


ONLY = {  # what can be said in one way only
    "num_beams": (1, "answers are sampled or greedy, without a search"),
    "role": ("user", "other roles are written as messages"),
    "logits_processor": (None, "use temperature, top_p, top_k and repetition_penalty"),
    "past_key_values": (None, "the history is read anew each time"),
    "return_past_key_values": (False, "the history is read anew each time"),
}


@dataclass(frozen=True, slots=True)
class Manners:
    """How a family answers where nothing else is wished. `max_length` None is the context's."""

    max_length: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 50


CHATGLM = Manners(max_length=8192, temperature=0.8, top_p=0.8, top_k=50)


def body_of(
    messages: Sequence[Message], wishes: Wishes, manners: Manners, context: int
) -> GenerateBody:
    """What the engine is asked; raises BadRequest that names the argument."""
    _refuse(wishes)
    given: dict[str, Any] = dict(wishes)
    sampled = given.get("do_sample", True)
    top_k = given.get("top_k", manners.top_k)
    fields = {
        "messages": [message.model_dump() for message in messages],
        "temperature": given.get("temperature", manners.temperature) if sampled else 0.0,
        "top_p": given.get("top_p", manners.top_p),
        "top_k": -1 if top_k == 0 else top_k,  # transformers' word for off
        "repetition_penalty": given.get("repetition_penalty", 1.0),
        "max_new_tokens": given.get("max_new_tokens", total(wishes, manners, context)),
        "seed": given.get("seed"),
        "echo": False,
    }
    return parse(GenerateBody, fields)


def total(wishes: Wishes, manners: Manners, context: int) -> int:
    """Tokens of prompt and answer together; what is given for the answer alone lifts a default."""
    default = None if "max_new_tokens" in wishes else manners.max_length
    return min(wishes.get("max_length", default or context), context)


def room(prompt: int, limit: int) -> int:
    """Tokens that `max_length` leaves for the answer."""
    if prompt >= limit:
        raise PromptTooLong(
            f"the conversation has {prompt} tokens, and max_length is {limit}; give a larger one "
            "or a shorter history",
            param="max_length",
        )
    return limit - prompt


def _refuse(wishes: Wishes) -> None:
    for name, value in wishes.items():
        if name not in Wishes.__annotations__:
            known = ", ".join(n for n in Wishes.__annotations__ if n not in ONLY)
            raise BadRequest(f"chat has no argument {name!r}; it has {known}", param=name)
        if name in ONLY and value != ONLY[name][0]:
            only, why = ONLY[name]
            raise BadRequest(f"{name} can only be {only!r}, not {value!r:.40}: {why}", param=name)
