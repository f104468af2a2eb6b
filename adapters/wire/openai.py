"""The bodies of OpenAI's chat, completions and embeddings, and of FastChat's token check.

Every parameter of OpenAI's is here, and vLLM's extras; what is not here is refused as unknown.
Wording and defaults are FastChat's where FastChat knows the field.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .fastchat import Lenient
from .generation import MAX_LOGPROBS, MAX_TOKEN_ID, MAX_TOKENS, Message, Text, valid_unicode
from .openai_extras import ChatExtras, CompletionExtras
from .openai_fields import MAX_CHOICES, Given, Label, OnlyIf
from .openai_messages import ChatMessage, one_user
from .openai_structure import Structured

MAX_TEXTS = 2048  # prompts or inputs of one request, OpenAI's limit
NO_TOOLS = "tools and functions are not supported"
NO_AUDIO = "only text is supported"
NO_HINT = "this hint cannot be followed"

Prompt: TypeAlias = str | tuple[int, ...]


class ChatRequest(ChatExtras, Structured):
    """POST /v1/chat/completions. Without max_tokens an answer may fill the context."""

    messages: Annotated[
        list[ChatMessage], Field(min_length=1, fail_fast=True), BeforeValidator(one_user)
    ]
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=MAX_LOGPROBS)
    parallel_tool_calls: bool = False  # asks for nothing without tools
    metadata: dict[str, Label] = {}
    safety_identifier: Label = ""
    prompt_cache_key: Label = ""
    tools: Annotated[Any, OnlyIf(NO_TOOLS, ([],))] = None
    tool_choice: Annotated[Any, OnlyIf(NO_TOOLS, ("none", "auto"))] = None
    functions: Annotated[Any, OnlyIf(NO_TOOLS, ([],))] = None
    function_call: Annotated[Any, OnlyIf(NO_TOOLS, ("none", "auto"))] = None
    modalities: Annotated[Any, OnlyIf(NO_AUDIO, (["text"],))] = None
    audio: Annotated[Any, OnlyIf(NO_AUDIO)] = None
    reasoning_effort: Annotated[Any, OnlyIf("the effort of thinking cannot be set", ("none",))] = (
        None
    )
    verbosity: Annotated[Any, OnlyIf("ask for it in a message", ("medium",))] = None
    service_tier: Annotated[Any, OnlyIf("there is one tier", ("auto", "default"))] = None
    store: Annotated[Any, OnlyIf("answers are not stored", (False,))] = None
    moderation: Annotated[Any, OnlyIf("answers are not moderated")] = None
    prediction: Annotated[Any, OnlyIf(NO_HINT)] = None
    prompt_cache_options: Annotated[Any, OnlyIf(NO_HINT, ({},))] = None
    prompt_cache_retention: Annotated[Any, OnlyIf(NO_HINT, ("in_memory", "in-memory"))] = None
    web_search_options: Annotated[Any, OnlyIf("there is no web search")] = None

    @model_validator(mode="after")
    def _together(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("refused", "'top_logprobs' needs 'logprobs': true")
        if None not in (self.max_tokens, self.max_completion_tokens) and (
            self.max_tokens != self.max_completion_tokens
        ):
            raise PydanticCustomError(
                "refused", "'max_tokens' and 'max_completion_tokens' differ; give one of them"
            )
        self.check_least(self.limit)
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens of an answer; None for what the context has left."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """Alternatives a position in the log-probabilities; None for no log-probabilities."""
        return self.top_logprobs if self.logprobs else None

    def conversation(self) -> list[Message]:
        return [message.flat() for message in self.messages]


def _prompts(value: Any) -> list[Prompt]:
    """A prompt or several, each a text or a list of token ids."""
    several = [value] if isinstance(value, str) or _ids(value) else value
    if not isinstance(several, list) or not 1 <= len(several) <= MAX_TEXTS:
        raise _no_prompt()
    if all(isinstance(one, str) for one in several):
        return [valid_unicode(one) for one in several]
    if all(_ids(one) for one in several):
        return [tuple(one) for one in several]
    raise _no_prompt()


def _ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(one) is int and 0 <= one <= MAX_TOKEN_ID for one in value)
    )


def _no_prompt() -> PydanticCustomError:
    return PydanticCustomError(
        "prompt",
        "a text, a list of texts, a list of token ids or a list of such lists is expected, "
        "none of them empty and at most {most}",
        {"most": MAX_TEXTS},
    )


TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}}
PROMPTS = {"anyOf": [*TEXTS["anyOf"], IDS, {"type": "array", "items": IDS}]}


BestOf = Annotated[
    int,
    Field(
        ge=1, le=MAX_CHOICES, description="answers that are made, of which the `n` best are told"
    ),
]


class CompletionRequest(CompletionExtras, Structured):
    """POST /v1/completions. `prompt` is kept as the list of all prompts."""

    prompt: Annotated[list[Prompt], PlainValidator(_prompts), WithJsonSchema(PROMPTS)]
    max_tokens: int = Field(default=16, ge=1, le=MAX_TOKENS)
    logprobs: int | None = Field(default=None, ge=0, le=5)
    echo: bool = False
    best_of: BestOf | None = None
    suffix: Annotated[Any, OnlyIf("text cannot be inserted", ("",))] = None

    @model_validator(mode="after")
    def _together(self) -> "CompletionRequest":
        self.check_least(self.max_tokens)
        if self.candidates < self.n:
            raise PydanticCustomError(
                "out_of_range",
                "{made} is less than 'n', {told}, and the n best are to be told - 'best_of'",
                {"made": self.candidates, "told": self.n},
            )
        if self.stream and self.candidates > self.n:
            raise PydanticCustomError(
                "refused",
                "'best_of' of more than 'n' cannot be streamed: the best are known at the end;"
                " leave one of 'best_of' and 'stream' out",
            )
        return self

    @property
    def candidates(self) -> int:
        """The answers to each prompt that are made; the `n` best of them are told."""
        return self.n if self.best_of is None else self.best_of


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
        raise _no_text()
    if not all(isinstance(text, str) for text in texts):
        raise _no_text()
    return [valid_unicode(text) for text in texts]


def _no_text() -> PydanticCustomError:
    return PydanticCustomError(
        "input",
        "a text or a list of 1 to {most} texts is expected; token ids are not supported",
        {"most": MAX_TEXTS},
    )


def _encoding(value: str) -> str:
    if value not in ("float", "base64"):
        raise PydanticCustomError("unsupported", "'float' or 'base64' is expected")
    return value


class EmbeddingsRequest(Given):
    """POST /v1/embeddings, and /v1/engines/{model}/embeddings, whose path names the model."""

    model: Text = ""
    engine: Text = ""
    input: Annotated[list[str], PlainValidator(_texts), WithJsonSchema(TEXTS)]
    encoding_format: Annotated[
        str, AfterValidator(_encoding), Field(description="float or base64")
    ] = "float"
    dimensions: Annotated[Any, OnlyIf("vectors have the length that the model gives them")] = None
    user: Label = ""

    @model_validator(mode="after")
    def _one_name(self) -> "EmbeddingsRequest":
        if self.model and self.engine and self.model != self.engine:
            raise PydanticCustomError("refused", "'model' and 'engine' differ; give 'model'")
        return self


class TokenCheck(Lenient):
    """One prompt of POST /api/v1/token_check: whether it and `max_tokens` fit the context."""

    model: str
    prompt: Text
    max_tokens: int = Field(ge=0)


class TokenChecks(Lenient):
    """POST /api/v1/token_check, FastChat's."""

    prompts: list[TokenCheck] = Field(max_length=MAX_TEXTS)
