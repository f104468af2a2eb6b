"""A generation body in an upstream's own words, or the sentence that names what it has no word for.

Pure, chance as an argument: knows dialects, asks nobody. What asks for nothing is said, too, where
the upstream has a word for it: servers take the defaults of the model's directory, or their own,
for what is left out.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...adapters.errors import BadRequest, OutOfRange
from ...adapters.wire.conversation import render
from ...adapters.wire.generation import GenerateBody, Message, Structure
from ..job import GREEDY_BELOW
from .dialects import DIALECTS, Dialect

IDLE: dict[str, tuple[Any, ...]] = {  # the values of a field that ask for nothing
    "top_k": (-1,),
    "min_p": (0.0,),
    "repetition_penalty": (1.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "logit_bias": (None, {}),
    "min_tokens": (0,),
    "stop": (None, []),
    "stop_token_ids": (None, []),
    "ignore_eos": (False,),
    "seed": (None,),
    "logprobs": (None,),
    "prompt_logprobs": (None,),
    "priority": (0,),
    "structured_outputs": (None,),
}
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
SAID = (  # also when they ask for nothing
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    *PENALTIES,
)
ALWAYS = frozenset(  # fields that every upstream honours, or that we do for it
    {"model", "prompt", "messages", "max_new_tokens", "choice", "echo", "delta"}
    | {"best_of", "use_beam_search", "images"}
)
OVERHEAD = 256  # tokens that a chat template may write beside the messages, a default system text
TURN = 16  # tokens that it may write around one message
SEEDS = 2**31  # llama.cpp's are of 32 bits, and its last one stands for none


def a_seed() -> int:
    return secrets.randbelow(SEEDS)


@dataclass(frozen=True, slots=True)
class UpstreamJob:
    """One generation as it is sent: `body` to `path`, without a limit of tokens.

    The prompt comes to `most` tokens at most. `echo` is the text that we put before the answer.
    `logprobs` and `prompt_logprobs` as in `Job`. At `stop` we are the ones to cut the text.
    """

    path: str
    body: dict[str, Any]
    max_new_tokens: int
    most: int
    echo: str = ""
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def chat(self) -> bool:
        return "messages" in self.body


@dataclass(frozen=True, slots=True)
class Asking:
    """Makes jobs for one model of one upstream, of `context` tokens. Read by any thread.

    With `conversation`, a template in wire form, messages are written by it; else by the upstream.
    Of the answers to one request without a seed, answer i has `seed` + i, or one by `chance`.
    """

    model: str
    dialect: str
    context: int
    conversation: dict[str, Any] | None = None
    seed: int | None = None
    chance: Callable[[], int] = a_seed

    @property
    def parameters(self) -> frozenset[str]:
        """The fields of a generation body that are honoured."""
        known = DIALECTS[self.dialect]
        ids = {"prompt_token_ids"} if known.reads_ids else set()
        return ALWAYS.union(known.names, ids)

    def job(self, body: GenerateBody) -> UpstreamJob:
        """Raises BadRequest for what the upstream cannot be asked for."""
        body = self._written(body)
        self._check(body)
        known = DIALECTS[self.dialect]
        path, prompt = _prompt(body)
        own_echo = body.echo and body.logprobs is None and body.prompt is not None
        said = {"model": self.model, **prompt, **self._parameters(body), "stream": True}
        if known.totals:
            said["stream_options"] = known.totals
        if body.echo and not own_echo:
            said["echo"] = True
        return UpstreamJob(
            path,
            said,
            body.max_new_tokens,
            _most(body),
            (body.prompt or "") if own_echo else "",
            body.logprobs,
            body.prompt_logprobs,
            _stops(body) if known.keeps_stop else (),
        )

    def _written(self, body: GenerateBody) -> GenerateBody:
        """The body with its messages written out, if we are the ones to do it."""
        if self.conversation is None or body.messages is None:
            return body
        prompt = render(self.conversation, body.messages)
        ends: dict[str, Any] = {"stop": [*_stops(body), *prompt.stop]}
        if DIALECTS[self.dialect].knows("stop_token_ids"):
            ends["stop_token_ids"] = [*(body.stop_token_ids or ()), *prompt.stop_token_ids]
        return body.model_copy(update={"messages": None, "prompt": prompt.text, **ends})

    def _check(self, body: GenerateBody) -> None:
        known = DIALECTS[self.dialect]
        for field, idle in IDLE.items():
            if getattr(body, field) not in idle and not known.knows(field):
                raise self._unknown(field)
        if body.prompt_token_ids is not None and not known.reads_ids:
            raise BadRequest(
                "the upstream of this worker, which is taken for "
                f"{self.dialect}, reads no token ids, 'prompt_token_ids'; give a text",
                param="prompt_token_ids",
            )
        if body.echo and not self._echoes(body, known):
            raise self._unknown("echo")
        if body.min_tokens > body.max_new_tokens:
            raise OutOfRange(
                f"{body.min_tokens} is greater than 'max_new_tokens', {body.max_new_tokens}"
                " - 'min_tokens'",
                param="min_tokens",
            )

    def _echoes(self, body: GenerateBody, known: Dialect) -> bool:
        """A prompt's text is ours to repeat; its tokens are not, nor is what a template makes."""
        if body.messages is not None:
            return False
        return known.echoes or (body.prompt is not None and body.logprobs is None)

    def _unknown(self, field: str) -> BadRequest:
        return BadRequest(
            f"'{field}' is not supported in this request by the upstream of this worker, "
            f"which is taken for {self.dialect}; leave it out",
            param=field,
        )

    def _parameters(self, body: GenerateBody) -> dict[str, Any]:
        known, said = DIALECTS[self.dialect], {}
        for field, name in known.names.items():
            value = getattr(body, field)
            if field in SAID or value not in IDLE[field]:
                said[name] = value.given if isinstance(value, Structure) else value
        if known.knows("seed") and (seed := self._seed(body)) is not None:
            said["seed"] = seed
        if known.knows("top_k") and body.top_k == -1:
            said[known.names["top_k"]] = known.no_top_k
        if self.dialect == "llama.cpp" and any(getattr(body, f) not in IDLE[f] for f in PENALTIES):
            said["repeat_last_n"] = self.context  # all tokens, not the last 64; it refuses -1
        if body.logprobs is not None:
            top = max(body.logprobs, known.least_logprobs)
            chat = body.messages is not None
            said |= {"logprobs": True, "top_logprobs": top} if chat else {"logprobs": top}
        if self.dialect == "transformers":
            said |= _of_transformers(body)
        return _packed(said)

    def _seed(self, body: GenerateBody) -> int | None:
        """None leaves it to the upstream. That may have a seed of its own, by which each further
        answer would be the first one again."""
        if body.seed is not None:
            return body.seed
        if self.seed is not None:
            return self.seed + body.choice
        return self.chance() if body.choice else None


def _of_transformers(body: GenerateBody) -> dict[str, Any]:
    """It draws only if it is told to, and takes a bias for sequences of tokens."""
    bias = [[[int(token)], value] for token, value in (body.logit_bias or {}).items()]
    return {
        "generation_config.do_sample": body.temperature >= GREEDY_BELOW,
        **({"generation_config.sequence_bias": bias} if bias else {}),
    }


def _packed(said: dict[str, Any]) -> dict[str, Any]:
    """The fields whose names have a dot, as the JSON text of what stands before it."""
    inner: dict[str, dict[str, Any]] = {}
    for name in [name for name in said if "." in name]:
        outer, _, field = name.partition(".")
        inner.setdefault(outer, {})[field] = said.pop(name)
    return said | {outer: json.dumps(fields) for outer, fields in inner.items()}


def _stops(body: GenerateBody) -> tuple[str, ...]:
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())


def _prompt(body: GenerateBody) -> tuple[str, dict[str, Any]]:
    if body.messages is not None:
        return "/chat/completions", {"messages": [m.model_dump() for m in body.messages]}
    if body.prompt_token_ids is not None:
        return "/completions", {"prompt": body.prompt_token_ids}
    return "/completions", {"prompt": body.prompt}


def _most(body: GenerateBody) -> int:
    """The most tokens that the prompt can come to: no token of a text is less than a byte."""
    if body.prompt_token_ids is not None:
        return len(body.prompt_token_ids)
    if body.messages is not None:
        return OVERHEAD + sum(map(_turn, body.messages))
    return len((body.prompt or "").encode()) + TURN


def _turn(message: Message) -> int:
    return TURN + len(message.content.encode())
