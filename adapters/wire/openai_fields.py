"""What the bodies of OpenAI's API have in common: null means not given, nothing is ignored.

A parameter is honoured, or may be given with a value that asks for nothing (`OnlyIf`), or is a
label, which names the sender or the request and asks nothing of the answer; any other is refused.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.annotated_handlers import GetCoreSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .generation import (
    MAX_LOGPROBS,
    MAX_TOKENS,
    LogitBias,
    Priority,
    Text,
    TokenId,
    TopK,
)

MAX_CHOICES = 128  # OpenAI's limit of `n`
Alternatives = Annotated[
    int,
    Field(
        ge=0, le=MAX_LOGPROBS, description="the most probable tokens in each place of the prompt"
    ),
]
SEED_LIMIT = 2**63 - 1  # so that the seeds of all choices, seed + i, stay legal on the wire


@dataclass(frozen=True, slots=True)
class OnlyIf:
    """Metadata of a field that is let through with a harmless value and refused with any other."""

    why: str
    harmless: tuple[Any, ...] = ()

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": [None, *self.harmless], "description": self.why}

    def _check(self, value: Any) -> Any:
        if any(value == fine and type(value) is type(fine) for fine in self.harmless):
            return value
        raise PydanticCustomError("unsupported", "{why}", {"why": self.why})


Label = Annotated[Text, Field(max_length=4096)]


class Given(BaseModel):
    """An object of a request; null stands for a field that is not given."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        known = cls.model_fields
        return {k: v for k, v in body.items() if v is not None or k not in known}


class StreamOptions(Given):
    include_usage: bool = False
    include_obfuscation: Annotated[Any, OnlyIf("streams are not padded", (False,))] = None
    continuous_usage_stats: Annotated[Any, OnlyIf("usage is told at the end", (False,))] = None


class Sampling(Given):
    """How tokens are chosen, how many, how often, and how they are sent; defaults as FastChat's."""

    model: Text = Field(min_length=1)
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=1.0, ge=0, le=1)
    top_k: TopK = -1
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    logit_bias: LogitBias = {}
    min_tokens: int = Field(default=0, ge=0, le=MAX_TOKENS)
    stop: Text | list[Text] = []
    stop_token_ids: list[TokenId] = []
    ignore_eos: bool = False
    seed: int | None = Field(default=None, ge=-SEED_LIMIT, le=SEED_LIMIT)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    prompt_logprobs: Alternatives | None = None
    priority: Priority = 0
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: Label = ""
    use_beam_search: Annotated[Any, OnlyIf("there is no beam search", (False,))] = None

    @model_validator(mode="after")
    def _usage_of_a_stream(self) -> "Sampling":
        if self.stream_options.include_usage and not self.stream:
            raise PydanticCustomError(
                "refused", "'stream_options.include_usage' needs 'stream': true"
            )
        return self

    def check_least(self, limit: int | None) -> None:
        """Refuses a minimum of tokens that is more than the most there may be."""
        if limit is not None and self.min_tokens > limit:
            raise PydanticCustomError(
                "out_of_range",
                "{least} is greater than the maximum of {most} - 'min_tokens'",
                {"least": self.min_tokens, "most": limit},
            )

    def sampling(self) -> dict[str, Any]:
        """The fields of a generation body that ask for something; temperature and top_p always."""
        off: dict[str, Any] = {
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "logit_bias": {},
            "min_tokens": 0,
            "stop_token_ids": [],
            "ignore_eos": False,
            "seed": None,
            "prompt_logprobs": None,
            "priority": 0,
        }
        asked = {k: v for k, idle in off.items() if (v := getattr(self, k)) != idle}
        stop = [text for text in ([self.stop] if isinstance(self.stop, str) else self.stop) if text]
        if stop:
            asked["stop"] = stop
        return {"temperature": self.temperature, "top_p": self.top_p, **asked}
