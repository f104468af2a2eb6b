"""What an answer must look like, in the words of OpenAI's clients and of vLLM's.

OpenAI has `response_format`; vLLM has `structured_outputs`, and had the names in `guided_`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .generation import Schema, SomeText, Structure
from .openai_fields import Given, Label, Sampling

WIRE = "structured_outputs"  # the field of a generation body


class JsonSchema(Given):
    """`strict` or not, an answer follows the schema. The name and the description are labels."""

    name: Label = Field(min_length=1)
    description: Label = ""
    schema_: Schema = Field(alias="schema")  # `schema` is pydantic's own
    strict: bool = True


class ResponseFormat(Given):
    """OpenAI's way to ask for any text, for any JSON object, or for a schema's."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _together(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError(
                "refused",
                "'response_format.json_schema' and the type 'json_schema' go together;"
                " the type is '{type}'",
                {"type": self.type},
            )
        return self


@dataclass(frozen=True, slots=True)
class Wish:
    """One field of a `Structure`, and what the client calls it: in whole, and the part with it."""

    field: str
    value: Any
    whole: str
    part: str


class Structured(Sampling):
    """A request whose answer may have to look like something; said in one way only."""

    response_format: ResponseFormat | None = None
    structured_outputs: Structure | None = None
    guided_json: Schema | None = None
    guided_regex: SomeText | None = None
    guided_choice: list[SomeText] | None = Field(default=None, min_length=1, fail_fast=True)
    guided_grammar: SomeText | None = None

    @model_validator(mode="after")
    def _one_wish(self) -> "Structured":
        names = [wish.whole for wish in self._wishes()]
        if len(names) > 1:
            raise PydanticCustomError(
                "refused",
                "{names} each say what the answer must look like; give one of them",
                {"names": " and ".join(f"'{name}'" for name in names)},
            )
        return self

    def sampling(self) -> dict[str, Any]:
        """As without a structure, and the structure."""
        asked = super().sampling()
        for wish in self._wishes():
            asked[WIRE] = {wish.field: wish.value}
        return asked

    @property
    def called(self) -> dict[str, str]:
        """What the client calls the fields of the generation body that `sampling` makes."""
        return {
            wire: name
            for wish in self._wishes()
            for wire, name in ((f"{WIRE}.{wish.field}", wish.part), (WIRE, wish.whole))
        }

    def _wishes(self) -> list[Wish]:
        return [*self._openai(), *self._vllm(), *self._guided()]

    def _openai(self) -> list[Wish]:
        asked = self.response_format
        if asked is None or asked.type == "text":
            return []
        if asked.json_schema is None:
            return [Wish("json_object", True, "response_format", "response_format")]
        part = "response_format.json_schema.schema"
        return [Wish("json", asked.json_schema.schema_, "response_format", part)]

    def _vllm(self) -> list[Wish]:
        given = self.structured_outputs.given if self.structured_outputs else {}
        return [Wish(field, value, WIRE, f"{WIRE}.{field}") for field, value in given.items()]

    def _guided(self) -> list[Wish]:
        names = {kind: f"guided_{kind}" for kind in ("json", "regex", "choice", "grammar")}
        given = {kind: getattr(self, name) for kind, name in names.items()}
        return [
            Wish(kind, value, names[kind], names[kind])
            for kind, value in given.items()
            if value is not None
        ]
