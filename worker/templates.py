"""Which of FastChat's conversation templates says the same as a tokenizer's own chat template.

Stock API servers and pages ask a worker for such a template and write their prompts by it. Pure:
takes the tokenizer's template as a function, reads no file.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastchat.conversation import conv_templates

from ..adapters.errors import ServeError
from ..adapters.wire.conversation import render, template_named, to_wire
from ..adapters.wire.generation import Message

log = logging.getLogger(__name__)

Render = Callable[[Sequence[Message]], str]

FALLBACK = "one_shot"  # what FastChat takes for a model that it does not know
MARK = "\ue000"  # of a private use area: in no template
PROBE = (
    Message(role="user", content="What is in the box?"),
    Message(role="assistant", content="A cat."),
    Message(role="user", content="And what is it called?"),
)
SYSTEM = Message(role="system", content="Answer in rhymes.")


def conversation_for(own: Render | None, name: str | None) -> dict[str, Any]:
    """The wire form of the template to tell others about: the one `name`d, else one that writes
    what `own` writes, else FastChat's fallback."""
    if name is not None:
        return template_named(name)
    if own is None:
        log.warning("no chat template: prompts follow conv_template=%s", FALLBACK)
        return template_named(FALLBACK)
    found = like(own)
    if found is None:
        log.warning(
            "no FastChat template is like the model's own: stock FastChat servers and pages will "
            "use conv_template=%s; danlu's use the model's own",
            FALLBACK,
        )
        return template_named(FALLBACK)
    log.info("chat template is like conv_template=%s", found["name"])
    return found


def like(own: Render) -> dict[str, Any] | None:
    """A FastChat template, with a system message of its own, that writes the same as `own`.

    Failing that, one that does so where a system message is given: FastChat's templates cannot
    leave a system turn out. Of several, one that stops at what ends a turn.
    """
    plain, instructed = _try(own, PROBE), _try(own, (SYSTEM, *PROBE))
    exact, nearly = [], []
    for template in conv_templates.values():
        # Examples are no part of a model's own template; without a style it is an API's name.
        if template.messages or template.sep_style is None:
            continue
        # Ids are those of another model's vocabulary; the engine adds this one's end tokens anyway.
        conv = {**to_wire(template), "stop_token_ids": None}
        if instructed not in (None, _text(conv, (SYSTEM, *PROBE))):
            continue
        if (fitted := _fitted(conv, plain)) is not None:
            exact.append(fitted)
        elif instructed is not None:
            nearly.append({**conv, "system_message": ""})
    turns = plain or instructed or ""
    matches = sorted(exact or nearly, key=lambda c: not (c["stop_str"] and c["stop_str"] in turns))
    return matches[0] if matches else None


def _fitted(conv: dict[str, Any], plain: str | None) -> dict[str, Any] | None:
    """`conv` with the system message with which it writes `plain`; None if there is no such one."""
    if plain is None:
        return None
    for system in ("", conv["system_message"], _system_in(conv, plain)):
        fitted = {**conv, "system_message": system}
        if system is not None and _text(fitted, PROBE) == plain:
            return fitted
    return None


def _system_in(conv: dict[str, Any], plain: str) -> str | None:
    """What stands in `plain` where `conv` would write its system message."""
    marked = _text({**conv, "system_message": MARK}, PROBE)
    if marked is None or marked.count(MARK) != 1:
        return None
    before, after = marked.split(MARK)
    if not (plain.startswith(before) and plain.endswith(after)):
        return None
    return plain[len(before) : len(plain) - len(after)] or None


def _text(conv: dict[str, Any], messages: Sequence[Message]) -> str | None:
    try:
        return render(conv, messages).text
    except (ServeError, ValueError, TypeError, AttributeError):  # some styles want other fields
        return None


def _try(own: Render, messages: Sequence[Message]) -> str | None:
    try:
        return own(messages)
    except ServeError:  # a template may refuse system messages
        return None
