"""OpenAI's chat messages, flattened to the role and text that a worker takes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from .generation import Message, Text
from .openai_fields import Given, Label, OnlyIf

ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
CALLS = "calls of tools and functions are not supported"
TEXT_ONLY = "only parts of type 'text' are supported"


def _known_role(role: str) -> str:
    if role not in ROLES:
        raise PydanticCustomError("unsupported", "one of {roles} is supported", {"roles": _roles()})
    return role


def _roles() -> str:
    return ", ".join(ROLES)


def _text_part(kind: str) -> str:
    if kind != "text":
        raise PydanticCustomError("unsupported", TEXT_ONLY)
    return kind


class TextPart(Given):
    """One part of a message's content; images, audio and files are refused by their type."""

    type: Annotated[str, AfterValidator(_text_part)]
    text: Text

    @model_validator(mode="before")
    @classmethod
    def _its_type_first(cls, part: Any) -> Any:
        """An image is refused for being one, not for its unknown fields."""
        return {"type": part["type"]} if _is_other(part) else part


def _is_other(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str) and part["type"] != "text"


class ChatMessage(Given):
    """One message. What an assistant's message of an earlier answer carries along may be empty."""

    role: Annotated[str, AfterValidator(_known_role)]
    content: Text | list[TextPart]
    name: Label = ""
    refusal: Annotated[Any, OnlyIf("put the text into 'content'")] = None
    audio: Annotated[Any, OnlyIf("audio is not supported")] = None
    annotations: Annotated[Any, OnlyIf("annotations are not supported", ([],))] = None
    tool_calls: Annotated[Any, OnlyIf(CALLS, ([],))] = None
    function_call: Annotated[Any, OnlyIf(CALLS)] = None
    tool_call_id: Annotated[Any, OnlyIf(CALLS)] = None

    @model_validator(mode="before")
    @classmethod
    def _calls_first(cls, message: Any) -> Any:
        """A call of a tool has no content; it is refused for being a call, not for that."""
        if isinstance(message, dict) and message.get("content") is None:
            return {**message, "content": ""} if message.get("tool_calls") else message
        return message

    def flat(self) -> Message:
        text = self.content
        if not isinstance(text, str):
            text = "\n".join(part.text for part in text)
        return Message.model_construct(role=ROLES[self.role], content=text)


def one_user(messages: Any) -> Any:
    """FastChat takes a plain string for one message of the user."""
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
