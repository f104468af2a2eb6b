"""Prompts from FastChat's conversation templates, ours by name or a worker's from the wire.

The templates are those of the `fschat` package. Knows no tokenizer; a model's own chat template is
the worker's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastchat.conversation import Conversation, SeparatorStyle, conv_templates

from ..errors import SOMEBODY, ServeError, StartError
from .generation import Message

# Up to here FastChat 0.2.36 and main number their separator styles alike; main inserted one at 8.
AGREED_STYLES = 8
# main's number of a style is 0.2.36's plus one from AGREED_STYLES on.
MAIN_SHIFT = 1
VERSIONS = ("main", "0.2.36")  # of FastChat, by the way they number separator styles

PLACE = "{system_message}"  # of the system message in a template's system_template


@dataclass(frozen=True, slots=True)
class Prompt:
    """A finished prompt and what ends the answer to it."""

    text: str
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]


def template_named(name: str) -> dict[str, Any]:
    """The wire form of a template of FastChat's; raises StartError for an unknown name.

    Its templates of closed models have no form as text and are as good as unknown.
    """
    template = conv_templates.get(name)
    if template is None or template.sep_style is None:
        known = sorted(n for n, one in conv_templates.items() if one.sep_style is not None)
        raise StartError(f"--conv-template {name!r} is no template; one of {', '.join(known)}")
    return to_wire(template)


def to_wire(template: Conversation) -> dict[str, Any]:
    """The 13 fields of a conversation as FastChat main sends them; 0.2.36 reads 11 of them."""
    style = template.sep_style.value
    return {
        "name": template.name,
        "system_template": template.system_template,
        "system_message": template.system_message,
        "system_message_vision": "",
        "roles": list(template.roles),
        "messages": [list(message) for message in template.messages],
        "offset": template.offset,
        "sep_style": style + MAIN_SHIFT if style >= AGREED_STYLES else style,
        "sep": template.sep,
        "sep2": template.sep2,
        "stop_str": template.stop_str,
        "stop_token_ids": template.stop_token_ids,
        "max_image_size_mb": None,
    }


def numbered(conv: Mapping[str, Any], version: str) -> dict[str, Any]:
    """`conv`, which has main's numbers, with the separator style's number of that FastChat.

    A reader takes the number for its own: 0.2.36 reads main's ChatGLM2 as ChatML.
    """
    style = conv["sep_style"]
    shifted = version == "0.2.36" and style >= AGREED_STYLES + MAIN_SHIFT
    return {**conv, "sep_style": style - MAIN_SHIFT if shifted else style}


def render(conv: Mapping[str, Any], messages: Sequence[Message]) -> Prompt:
    """The prompt for `messages` under a template in wire form.

    System messages are joined in front, neighbours of one role are one turn, and the first turn is
    the user's: FastChat numbers rounds by position. A template that has no place for a system
    message gets it at the head of the first turn. Raises ServeError for a template that this
    FastChat does not know.
    """
    conversation = _conversation(conv)
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    turns = _turns(messages)
    if system and PLACE in conversation.system_template:
        conversation.set_system_message(system)
    elif system:
        turns = [("user", _joined(system, turns[0][1] if turns else "")), *turns[1:]]
    user, assistant = conversation.roles[:2]  # one template names a third
    for role, text in turns:
        conversation.append_message(user if role == "user" else assistant, text)
    conversation.append_message(assistant, None)
    return Prompt(
        conversation.get_prompt(),
        _texts(conversation.stop_str),
        tuple(conversation.stop_token_ids or ()),
    )


def _conversation(conv: Mapping[str, Any]) -> Conversation:
    """The name decides about the separator style: its number differs between versions."""
    try:
        name, style = str(conv["name"]), int(conv["sep_style"])
        if name in conv_templates:
            separator = conv_templates[name].sep_style
        elif style < AGREED_STYLES:
            separator = SeparatorStyle(style)
        else:
            raise ServeError(
                f"has a conversation template that is unknown here: {name!r}", peer=SOMEBODY
            )
        return Conversation(
            name=name,
            system_template=conv["system_template"],
            system_message=conv["system_message"],
            roles=tuple(conv["roles"]),
            messages=[list(message) for message in conv["messages"]],
            offset=conv["offset"],
            sep_style=separator,
            sep=conv["sep"],
            sep2=conv["sep2"],
            stop_str=conv["stop_str"],
            stop_token_ids=conv["stop_token_ids"],
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise ServeError(
            "has a conversation template that cannot be read", peer=SOMEBODY, why=str(exc)
        ) from exc


def _turns(messages: Sequence[Message]) -> list[tuple[str, str]]:
    turns: list[tuple[str, str]] = []
    for message in messages:
        if message.role == "system":
            continue
        if turns and turns[-1][0] == message.role:
            turns[-1] = (message.role, _joined(turns[-1][1], message.content))
        else:
            turns.append((message.role, message.content))
    return [("user", ""), *turns] if turns and turns[0][0] == "assistant" else turns


def _joined(one: str, other: str) -> str:
    return f"{one}\n\n{other}" if one and other else one or other


def _texts(stop: str | list[str] | None) -> tuple[str, ...]:
    if not stop:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)
