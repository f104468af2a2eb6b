"""Turns a JSON object into a typed body, or into one sentence that names the field."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import BadRequest, OutOfRange

M = TypeVar("M", bound=BaseModel)

RANGE = {  # pydantic's error type: (the words between value and bound, the bound's key)
    "greater_than_equal": ("is less than the minimum of", "ge"),
    "less_than_equal": ("is greater than the maximum of", "le"),
    "greater_than": ("is not greater than", "gt"),
    "less_than": ("is not less than", "lt"),
}


def parse(kind: type[M], body: Mapping[str, Any]) -> M:
    """`body` as a `kind`; raises BadRequest or OutOfRange for the first field that is wrong."""
    try:
        return kind.model_validate(body)
    except ValidationError as exc:
        raise _first(exc) from exc


def _first(exc: ValidationError) -> BadRequest:
    """The first complaint in words; FastChat's own wording where FastChat checks the field."""
    error = exc.errors(include_url=False)[0]
    field = _path(error["loc"])
    value = _short(error["input"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return BadRequest(f"'{field}' is missing", param=field)
    if kind == "extra_forbidden":
        return BadRequest(f"'{field}' is not a parameter of this request", param=field)
    if kind in RANGE:
        words, key = RANGE[kind]
        bound = context[key]
        value = str(float(error["input"])) if isinstance(bound, float) else value
        return OutOfRange(f"{value} {words} {bound:g} - '{field}'", param=field)
    if kind == "out_of_range":  # a validator of ours, with a complete sentence
        return OutOfRange(error["msg"], param=field)
    if kind == "refused":
        return BadRequest(error["msg"], param=field)
    return BadRequest(f"'{field}' is {value}: {_lower(error['msg'])}", param=field)


def _path(loc: tuple[int | str, ...]) -> str:
    """`messages[0].content` for ('messages', 0, 'content'); union branches are left out."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            if path and part in UNION_BRANCHES:
                continue
            path += f".{part}" if path else part
    return path or "the body"


UNION_BRANCHES = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
