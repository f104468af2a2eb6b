"""What each kind of OpenAI-compatible server can be asked for, and under which names. Pure facts.

Read in the sources and pages of: vLLM (chat_completion/ and completion/protocol.py), SGLang 0.5
(openai/protocol.py), llama.cpp (tools/server), llama-cpp-python 0.3.36, Ollama's page on its
compatibility, MindIE's list of parameters, FastChat 0.2.36.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

OPENAI = (  # what OpenAI's own API knows, by the same names
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "stop",
)
EXTRAS = ("top_k", "min_p", "repetition_penalty", "stop_token_ids", "ignore_eos", "min_tokens")

Counting = Literal["tokenize", "tokenize text", "content", "input", "check"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server.

    `owner` is who owns its models, as its list of models says. `names` maps a field of a generation
    body to the server's name for it; what is not there cannot be asked for, and `a.b` is b in the
    JSON text of a. `no_top_k` says that top_k is off. `reads_ids` and `echoes` are about prompts:
    token ids, and their echo with log-probabilities. `totals` are the stream options that bring the
    usage, none where it comes unasked, None where it does not come. `counts` is how it counts
    tokens, None if it does not. `strict` refuses a limit that the context has no room for. `alone`
    is asked for one answer at a time, and nothing beside it: another request would spoil it.
    `keeps_stop` leaves the stop text at the end of the answer. It gives no log-probabilities at all
    unless `least_logprobs` alternatives are asked for.
    """

    owner: str
    names: Mapping[str, str]
    no_top_k: int = -1
    reads_ids: bool = False
    echoes: bool = False
    totals: Mapping[str, bool] | None = None
    counts: Counting | None = None
    strict: bool = False
    alone: bool = False
    keeps_stop: bool = False
    least_logprobs: int = 0

    def knows(self, field: str) -> bool:
        return field in self.names


def _names(*fields: str, **renamed: str) -> dict[str, str]:
    return {**{field: field for field in (*OPENAI, *fields)}, **renamed}


AT_THE_END = {"include_usage": True}
ALONG = {"include_usage": True, "continuous_usage_stats": True}

DIALECTS = {
    "vllm": Dialect(
        owner="vllm",
        names=_names(*EXTRAS, "seed", "logit_bias", "logprobs", "structured_outputs"),
        reads_ids=True,
        echoes=True,
        totals=ALONG,
        counts="tokenize",
        strict=True,
    ),
    "sglang": Dialect(
        owner="sglang",
        names=_names(*EXTRAS, "seed", "logit_bias", "logprobs"),
        reads_ids=True,
        echoes=True,
        totals=ALONG,
        counts="tokenize text",
        strict=True,
    ),
    "mindie": Dialect(
        owner="MindIE Server",
        names=_names("top_k", "repetition_penalty", "stop_token_ids", "ignore_eos", "seed"),
        no_top_k=0,
        totals=AT_THE_END,
        strict=True,
    ),
    "llama.cpp": Dialect(
        owner="llamacpp",
        names=_names(
            *("top_k", "min_p", "ignore_eos", "seed", "logit_bias", "logprobs"),
            repetition_penalty="repeat_penalty",
        ),
        no_top_k=0,
        reads_ids=True,
        totals=AT_THE_END,
        counts="content",
        least_logprobs=1,
    ),
    "llama-cpp-python": Dialect(
        owner="me",
        names=_names(
            *("top_k", "min_p", "min_tokens", "seed", "logit_bias", "logprobs"),
            repetition_penalty="repeat_penalty",
        ),
        no_top_k=0,
        counts="input",
        strict=True,
        alone=True,
    ),
    "transformers": Dialect(  # its penalties are ignored, or the repetition penalty by another name
        owner="",
        names={
            **{field: field for field in ("stop", "seed")},
            **{
                field: f"generation_config.{field}"
                for field in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
            },
            "logit_bias": "generation_config.sequence_bias",
        },
        no_top_k=0,
        totals={},
        alone=True,
        keeps_stop=True,
    ),
    "ollama": Dialect(owner="library", names=_names("seed", "logprobs"), totals=AT_THE_END),
    "danlu": Dialect(
        owner="fastchat",
        names=_names(
            *(*EXTRAS, "seed", "logit_bias", "logprobs", "structured_outputs"),
            *("prompt_logprobs", "priority"),
        ),
        reads_ids=True,
        echoes=True,
        totals=AT_THE_END,
        counts="check",
    ),
    "fastchat": Dialect(  # its workers on transformers pass over the penalties
        owner="fastchat",
        names={field: field for field in ("temperature", "top_p", "top_k", "stop")},
        counts="check",
        strict=True,
    ),
    "openai": Dialect(
        owner="", names=_names("seed", "logit_bias", "logprobs"), totals=AT_THE_END, strict=True
    ),
}
UNKNOWN = "openai"
NAMES = tuple(DIALECTS)


def owned_by(owner: str) -> str:
    """The first dialect whose models have that owner; OpenAI's own for a stranger."""
    return next((name for name, d in DIALECTS.items() if owner and d.owner == owner), UNKNOWN)
