"""The forms in which people write conversations down, each told by its keys. Pure.

FastChat and ShareGPT   conversations: [{from, value}, …]
OpenAI                  messages: [{role, content}, …], a content may be a list of text parts
Alpaca, Dolly           instruction, output or response, and perhaps input or context, system,
                        history: [[q, a], …]
pairs                   prompt and response or completion, query or question and an answer
ChatGLM's ptuning       content and summary, or prompt and response, and perhaps history

Records of several forms may stand in one file. Every key of a conversation is read or refused;
beside it a record may carry what it likes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...adapters.errors import shown
from .dialogue import Turn, Unusable

LISTS = ("conversations", "messages")
TOOLS = ("tools", "functions")
OPENING = re.compile(r'\{\s*"(id|conversations|messages|instruction|prompt|query|question)"\s*:')
ROLE_KEYS, TEXT_KEYS = ("from", "role"), ("value", "content")
ROLES = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "claude": "assistant",
    "chatglm": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
PAIRS = (  # keys of a question and of its answer
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("query", "response"),
    ("question", "answer"),
    ("content", "summary"),
)
MORE = ("input", "context")  # keys of what goes with an instruction or a question
KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def is_record(value: object) -> bool:
    """Whether it has the keys of a form, whatever they hold."""
    return isinstance(value, dict) and (
        any(key in value for key in LISTS) or _pair(value) is not None
    )


def turns_in(record: object) -> tuple[list[Turn], list[str]]:
    """What is said in a record, and notes of what of it was left out; raises Unusable."""
    if not isinstance(record, dict):
        raise Unusable("no object", f"it is {kind(record)}; a record is an object")
    notes = ["tools left out"] if any(map(record.get, TOOLS)) else []
    for key in LISTS:
        if key in record:
            return [*_system(record), *_listed(key, record[key])], notes
    pair = _pair(record)
    if pair is None:
        keys = ", ".join(map(shown, record)) or "none"
        raise Unusable("unknown form", f"no known form of a conversation has its keys: {keys:.200}")
    return _paired(record, *pair), notes


def kind(value: object) -> str:
    """What JSON calls it, with an article."""
    return KINDS[type(value)]


def _pair(record: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((pair for pair in PAIRS if all(key in record for key in pair)), None)


def _listed(key: str, turns: object) -> list[Turn]:
    if not isinstance(turns, list):
        raise Unusable("wrong type", f"{key!r} is {kind(turns)}; it must be a list of turns")
    return [_turn(turn, f"turn {number}") for number, turn in enumerate(turns, 1)]


def _turn(turn: object, what: str) -> Turn:
    if not isinstance(turn, dict):
        raise Unusable("wrong type", f"{what} is {kind(turn)}; it must be an object")
    role_key, text_key = _key_of(turn, ROLE_KEYS, what), _key_of(turn, TEXT_KEYS, what)
    role = turn[role_key]
    if not isinstance(role, str):
        raise Unusable("wrong type", f"{role_key!r} of {what} is {kind(role)}; it must be a text")
    if role.lower() not in ROLES:
        raise Unusable(
            "unknown role",
            f"{role_key!r} of {what} is '{shown(role)}'; it is one of {', '.join(ROLES)}",
        )
    if turn.get("tool_calls") or turn.get("function_call"):
        raise Unusable("tool call", f"{what} calls a tool; only text is trained")
    text = _text(turn[text_key], f"{text_key!r} of {what}")
    return Turn(ROLES[role.lower()], text, _weight(turn, what))


def _key_of(turn: Mapping[str, Any], keys: Sequence[str], what: str) -> str:
    found = next((key for key in keys if key in turn), None)
    if found is None:
        wanted = " or ".join(map(repr, keys))
        raise Unusable("missing key", f"{what} has no {wanted}")
    return found


def _text(value: object, what: str) -> str:
    """A text, or OpenAI's list of its parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise Unusable("wrong type", f"{what} is {kind(value)}; it must be a text")
    for part in value:
        if not (isinstance(part, dict) and part.get("type", "text") == "text"):
            raise Unusable("wrong type", f"{what} has parts that are no text")
        if not isinstance(part.get("text"), str):
            raise Unusable("wrong type", f"{what} has a part without a text")
    return "\n".join(part["text"] for part in value)


def _weight(turn: Mapping[str, Any], what: str) -> bool:
    """OpenAI's way to leave an answer untrained."""
    weight = turn.get("weight")
    if weight is None:
        return True
    if isinstance(weight, bool) or weight not in (0, 1):
        raise Unusable("wrong type", f"'weight' of {what} is {shown(repr(weight))}; it is 0 or 1")
    return bool(weight)


def _paired(record: Mapping[str, Any], asked: str, answered: str) -> list[Turn]:
    question = _string(record, asked)
    more = [_optional(record, key) for key in MORE] if asked in ("instruction", "question") else []
    last = Turn("user", "\n".join([question, *filter(None, more)]))
    answer = Turn("assistant", _string(record, answered))
    return [*_system(record), *_history(record.get("history")), last, answer]


def _system(record: Mapping[str, Any]) -> list[Turn]:
    text = _optional(record, "system")
    return [Turn("system", text)] if text else []


def _history(history: object) -> list[Turn]:
    if history is None:
        return []
    if not isinstance(history, list):
        raise Unusable("wrong type", f"'history' is {kind(history)}; it must be a list of pairs")
    turns = []
    for number, pair in enumerate(history, 1):
        if not (
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair)
        ):
            raise Unusable("wrong type", f"part {number} of 'history' is no pair of texts")
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
    return turns


def _string(record: Mapping[str, Any], key: str) -> str:
    if not isinstance(record[key], str):
        raise Unusable("wrong type", f"{key!r} is {kind(record[key])}; it must be a text")
    return str(record[key])


def _optional(record: Mapping[str, Any], key: str) -> str:
    return "" if record.get(key) is None else _string(record, key)
