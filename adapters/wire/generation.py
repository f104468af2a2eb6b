"""The body and the frames of /worker_generate and /worker_generate_stream.

FastChat's fields with FastChat's defaults (0.2.36, inference.py and base_model_worker.py), and
ours beside them: `messages` or `prompt_token_ids` in place of `prompt`, `delta` for frames that
carry only what is new. Every field is honoured or refused by name; none is ignored.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_LOGPROBS = 20  # alternatives a position, OpenAI's limit
MOST_PRIORITY = 2**31 - 1

MAX_TOKEN_ID = 2**31 - 1  # no vocabulary is larger
MAX_TOKENS = 2**31 - 1  # no context is longer
SEEDS = (-(2**63), 2**64 - 1)  # what torch's generators take


def valid_unicode(text: str) -> str:
    """`text`, unless it holds half a surrogate pair: JSON can spell it, no tokenizer reads it."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise PydanticCustomError(
            "unicode", "there is half a surrogate pair at character {at}", {"at": exc.start}
        ) from exc
    return text


def _top_k(value: int) -> int:
    if value == 0 or value < -1:
        raise PydanticCustomError(
            "out_of_range",
            "{value} is out of Range. Either set top_k to -1 or >=1.",
            {"value": value},
        )
    return value


def _token_ids(bias: dict[str, float]) -> dict[str, float]:
    for key in bias:
        if not (key.isascii() and key.isdecimal() and len(key) <= 10 and int(key) <= MAX_TOKEN_ID):
            raise PydanticCustomError(
                "refused",
                "'logit_bias' maps token ids to numbers; {key} is no id",
                {"key": repr(key[:20])},
            )
    return bias


def _schema(value: Any) -> Any:
    """A JSON schema may be given as its text, as vLLM's clients do."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise PydanticCustomError("json", "it is not JSON: {why}", {"why": str(exc)}) from exc


Text = Annotated[str, AfterValidator(valid_unicode)]
SomeText = Annotated[str, Field(min_length=1), AfterValidator(valid_unicode)]
Schema = Annotated[
    dict[str, Any], BeforeValidator(_schema), Field(description="a schema, or the text of one")
]
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]
TopK = Annotated[int, Field(le=MAX_TOKEN_ID, description="-1 is off"), AfterValidator(_top_k)]
Priority = Annotated[
    int,
    Field(
        ge=-MOST_PRIORITY,
        le=MOST_PRIORITY,
        description=f"{-MOST_PRIORITY} to {MOST_PRIORITY}; the lowest that waits is served first",
    ),
]
LogitBias = Annotated[
    dict[str, Annotated[float, Field(ge=-100, le=100)]], AfterValidator(_token_ids)
]


class Message(BaseModel):
    """One turn of a conversation, its content flattened to text."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: Text


class Structure(BaseModel):
    """What an answer must look like; exactly one of the fields is given.

    `json` is a JSON schema, `json_object` true for any JSON object, `regex` what the whole answer
    matches, `choice` all the answers there are, `grammar` one in Lark's or in GBNF's notation.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    json_schema: Schema | None = Field(default=None, alias="json")  # `json` is pydantic's own
    json_object: bool | None = None
    regex: SomeText | None = None
    choice: list[SomeText] | None = Field(default=None, min_length=1, fail_fast=True)
    grammar: SomeText | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Structure":
        given = self.given
        if len(given) != 1:
            raise PydanticCustomError(
                "refused",
                "'structured_outputs' takes one of {names}, and {given} given",
                {
                    "names": "json, json_object, regex, choice and grammar",
                    "given": f"{' and '.join(given)} are" if given else "none is",
                },
            )
        return self

    @property
    def given(self) -> dict[str, Any]:
        """The fields that ask for something, by the names that they have on the wire."""
        told = self.model_dump(by_alias=True, exclude_none=True)
        return {name: value for name, value in told.items() if value is not False}


class GenerateBody(BaseModel):
    """One generation, as it goes over the wire.

    temperature below 1e-5 is greedy; top_k -1 is off; `stop` texts end the answer and are not part
    of it. `logprobs` is the number of alternatives a position (0: only the chosen token's),
    `prompt_logprobs` the same for the prompt's own tokens. `echo` puts the prompt before the text
    and is true by default, as in FastChat. Of those who wait the lowest `priority` is served first.
    `choice` numbers the answers to one request: of those without a `seed` each has one of its own,
    the worker's seed + `choice`, if the worker has one.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    model: str | None = None
    prompt: Text | None = None
    prompt_token_ids: list[TokenId] | None = Field(default=None, min_length=1, fail_fast=True)
    messages: list[Message] | None = Field(default=None, min_length=1, fail_fast=True)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, ge=0, le=1)
    top_k: TopK = -1
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    logit_bias: LogitBias | None = None
    max_new_tokens: int = Field(default=256, ge=1, le=MAX_TOKENS)
    min_tokens: int = Field(default=0, ge=0, le=MAX_TOKENS)
    stop: SomeText | list[SomeText] | None = None
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: bool = False
    seed: int | None = Field(default=None, ge=SEEDS[0], le=SEEDS[1])
    choice: int = Field(default=0, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    prompt_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    structured_outputs: Structure | None = None
    priority: Priority = 0
    echo: bool = True
    delta: bool = False
    best_of: Literal[1] | None = None
    use_beam_search: Literal[False] | None = None
    images: list[Any] | None = Field(default=None, max_length=0)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        """FastChat's workers take any value but null for 'yes'."""
        return {True: 0, False: None}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _one_prompt(self) -> "GenerateBody":
        given = [
            n for n in ("prompt", "prompt_token_ids", "messages") if getattr(self, n) is not None
        ]
        if not given:
            raise PydanticCustomError("refused", "'prompt' is missing")
        if len(given) > 1:
            raise PydanticCustomError(
                "refused", "give one of {names}, not several", {"names": " and ".join(given)}
            )
        return self

    def to_wire(self) -> dict[str, Any]:
        """The JSON object of this body: what was set, and `echo`, whose default surprises."""
        said = self.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
        return {**said, "echo": self.echo}


class Usage(BaseModel):
    """Tokens of one sequence."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Logprobs(BaseModel):
    """Log-probabilities in the completions style, one entry a token.

    `text_offset` is each token's place in the text, in characters. A position's `top_logprobs` maps
    the most probable tokens to their values.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    text_offset: list[int]
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]


class PromptLogprob(BaseModel):
    """One token in a place of the prompt, as vLLM tells it; rank 1 is the most probable."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    logprob: float
    rank: int
    decoded_token: str


# By the token's id, the prompt's own token first; None for the first place, which nothing precedes.
PromptLogprobs = list[dict[int, PromptLogprob] | None]
