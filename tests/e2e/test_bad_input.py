"""Everything that can be wrong with a request to the API, over the whole stack.

Each is refused with a 4xx and one sentence that names what is wrong; none is a 500, a traceback or
a hang, and after all of them the stack still answers a question.
"""

from typing import Any

import pytest
from support.refusals import (
    HALF,
    HUGE,
    LONG,
    NOT_AN_OBJECT,
    NOT_JSON,
    Bad,
    check_refusal,
    without_none,
)
from support.stack import SMOL, Stack, chat_body

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("still_answers")]

CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"

DEEP_FIELD = (
    b'{"model": "smollm2", "messages": ' + b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000 + b"}"
)


def chat(**more: Any) -> dict[str, Any]:
    """A chat request that would be answered but for `more`; None takes a field out."""
    return without_none(chat_body(SMOL, "Hi", max_tokens=2) | more)


def text(**more: Any) -> dict[str, Any]:
    return without_none({"model": SMOL, "prompt": "Hi", "max_tokens": 2} | more)


def says(content: Any, role: Any = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": content}]


AT_THE_API = [
    *(Bad(path, raw, "JSON") for path in (CHAT, TEXT, EMBED) for raw in NOT_JSON),
    *(Bad(path, raw, "object") for path in (CHAT, TEXT, EMBED) for raw in NOT_AN_OBJECT),
    Bad(CHAT, DEEP_FIELD, ""),
    *(Bad(path, HUGE, "larger than", 413) for path in (CHAT, TEXT, EMBED)),
    # missing
    Bad(CHAT, chat(model=None), "model"),
    Bad(CHAT, chat(messages=None), "messages"),
    Bad(CHAT, chat(messages=[{"role": "user"}]), "content"),
    Bad(CHAT, chat(messages=[{"content": "Hi"}]), "role"),
    Bad(TEXT, text(prompt=None), "prompt"),
    Bad(TEXT, text(model=None), "model"),
    Bad(EMBED, {"model": SMOL}, "input"),
    # unknown
    Bad(CHAT, chat(temprature=1), "temprature"),
    Bad(TEXT, text(temprature=1), "temprature"),
    Bad(EMBED, {"model": SMOL, "input": "a", "inputs": "b"}, "inputs"),
    Bad(CHAT, chat(model="gpt-9"), "gpt-9", 404),
    Bad(TEXT, text(model="gpt-9"), "gpt-9", 404),
    Bad(EMBED, {"model": "gpt-9", "input": "a"}, "gpt-9", 404),
    Bad(CHAT, chat(model="x\ny" * 2000), "model", 404),
    Bad("/v1/models/gpt-9", None, "gpt-9", 404, "GET"),
    # of the wrong type
    Bad(CHAT, chat(model=5), "model"),
    Bad(CHAT, chat(model=["a"]), "model"),
    Bad(CHAT, chat(messages={}), "messages"),
    Bad(CHAT, chat(messages=[]), "messages"),
    Bad(CHAT, chat(messages=["Hi"]), "messages"),
    Bad(CHAT, chat(messages=says(5)), "content"),
    Bad(CHAT, chat(messages=says([{"type": "text"}])), "text"),
    Bad(CHAT, chat(messages=says([{"type": "image_url", "image_url": {"url": "x"}}])), "image"),
    Bad(CHAT, chat(messages=says("Hi", role="wizard")), "role"),
    Bad(CHAT, chat(messages=says("Hi", role="tool")), "role"),
    Bad(CHAT, chat(temperature="hot"), "temperature"),
    Bad(CHAT, chat(temperature=[1]), "temperature"),
    Bad(CHAT, chat(max_tokens="many"), "max_tokens"),
    Bad(CHAT, chat(max_tokens=1.5), "max_tokens"),
    Bad(CHAT, chat(stream="perhaps"), "stream"),
    Bad(CHAT, chat(stop=5), "stop"),
    Bad(CHAT, chat(stop=[5]), "stop"),
    Bad(CHAT, chat(n="two"), "n"),
    Bad(CHAT, chat(logit_bias=[1]), "logit_bias"),
    Bad(CHAT, chat(logit_bias={"x": 1}), "logit_bias"),
    Bad(TEXT, text(prompt=5), "prompt"),
    Bad(TEXT, text(prompt=[]), "prompt"),
    Bad(TEXT, text(prompt=["a", 5]), "prompt"),
    Bad(TEXT, text(prompt=[1, -5]), "prompt"),
    Bad(TEXT, text(prompt=[10**9]), "vocabulary"),
    Bad(EMBED, {"model": SMOL, "input": 5}, "input"),
    Bad(EMBED, {"model": SMOL, "input": []}, "input"),
    Bad(EMBED, {"model": SMOL, "input": "a", "encoding_format": "hex"}, "encoding_format"),
    # out of range
    Bad(CHAT, chat(temperature=3), "temperature"),
    Bad(CHAT, chat(temperature=-1), "temperature"),
    Bad(CHAT, b'{"model": "smollm2", "messages": [], "temperature": NaN}', ""),
    Bad(CHAT, chat(temperature=float("nan")), "temperature"),
    Bad(CHAT, chat(temperature=float("inf")), "temperature"),
    Bad(CHAT, chat(top_p=2), "top_p"),
    Bad(CHAT, chat(top_p=-0.1), "top_p"),
    Bad(CHAT, chat(top_k=0), "top_k"),
    Bad(CHAT, chat(n=0), "n"),
    Bad(CHAT, chat(n=10**6), "n"),
    Bad(CHAT, chat(max_tokens=0), "max_tokens"),
    Bad(CHAT, chat(max_tokens=-1), "max_tokens"),
    Bad(CHAT, chat(presence_penalty=9), "presence_penalty"),
    Bad(CHAT, chat(frequency_penalty=-9), "frequency_penalty"),
    Bad(CHAT, chat(seed=2**80), "seed"),
    Bad(CHAT, chat(top_logprobs=5), "logprobs"),
    Bad(TEXT, text(logprobs=1000), "logprobs"),
    Bad(TEXT, text(prompt_logprobs=-1), "prompt_logprobs"),
    Bad(CHAT, chat(prompt_logprobs=1000), "prompt_logprobs"),
    Bad(CHAT, chat(priority=2**40), "priority"),
    Bad(TEXT, text(best_of=10**6), "best_of"),
    Bad(TEXT, text(best_of=1, n=2), "best_of"),
    Bad(TEXT, text(best_of=2, stream=True), "best_of"),
    Bad(CHAT, chat(messages=says(HALF)), ""),
    Bad(TEXT, text(prompt=HALF), ""),
    # longer than the context
    Bad(CHAT, chat(messages=says(LONG)), "maximum context length"),
    Bad(CHAT, chat(messages=says(LONG), stream=True), "maximum context length"),
    Bad(TEXT, text(prompt=LONG), "maximum context length"),
    # elsewhere
    Bad(CHAT, None, "GET", 405, "GET"),
    Bad(CHAT, b"{}", "PUT", 405, "PUT"),
    Bad("/v1/models", b"{}", "DELETE", 405, "DELETE"),
    Bad("/v1/chat", b"{}", "/v1/chat", 404),
    Bad("/", None, "GET /", 404, "GET"),
    Bad("/v1/../etc/passwd", None, "", 404, "GET"),
]


@pytest.mark.parametrize("bad", AT_THE_API, ids=str)
def test_the_api_refuses(whole: Stack, bad: Bad) -> None:
    check_refusal(bad, bad.send(whole.api))
