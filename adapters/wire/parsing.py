"""Turns a JSON object into a typed body, or into one sentence that names the field."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import BadRequest, OutOfRange, shown

M = TypeVar("M", bound=BaseModel)

RANGE = {  # pydantic's error type: (the words between value and bound, the bound's key)
    "greater_than_equal": ("is less than the minimum of", "ge"),
    "less_than_equal": ("is greater than the maximum of", "le"),
    "greater_than": ("is not greater than", "gt"),
    "less_than": ("is not less than", "lt"),
}

UNION_BRANCHES = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})
KIND = "Input should be "  # how pydantic begins to say that a value is of another kind
BODY = "the body"  # the path of what is wrong with no single field
OBJECTS = frozenset({"model_type", "model_attributes_type", "dict_type"})


def parse(kind: type[M], body: Mapping[str, Any]) -> M:
    """`body` as a `kind`; raises BadRequest or OutOfRange for the first field that is wrong."""
    try:
        return kind.model_validate(body)
    except ValidationError as exc:
        raise _first(exc) from exc


def _first(exc: ValidationError) -> BadRequest:
    """The first field's complaint in words; FastChat's own wording where FastChat checks it."""
    errors = _deepest(exc.errors(include_url=False))
    error = errors[0]
    field = _path(error["loc"])
    param = field if field != BODY else None
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return BadRequest(f"'{field}' is missing", param=field)
    if kind == "extra_forbidden":
        field = _path(error["loc"][:-1], last=str(error["loc"][-1])[:80])
        return BadRequest(f"'{field}' is not a parameter of this request", param=field)
    if kind in RANGE:
        words, key = RANGE[kind]
        bound = context[key]
        value = float(error["input"]) if isinstance(bound, float) else shown(repr(error["input"]))
        bound = f"{bound:g}" if isinstance(bound, float) else bound
        return OutOfRange(f"{value} {words} {bound} - '{field}'", param=field)
    if kind == "out_of_range":  # a validator of ours, with a complete sentence
        return OutOfRange(error["msg"], param=param)
    if kind == "refused":
        return BadRequest(error["msg"], param=param)
    return BadRequest(
        f"'{field}' is {shown(repr(error['input']))}: {_reasons(errors)}", param=param
    )


def _deepest(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """What is wrong with the first wrong field: of a union's branches those that came furthest."""
    alike = [error for error in errors if error["loc"][:1] == errors[0]["loc"][:1]]
    depth = max(_depth(error["loc"]) for error in alike)
    deep = [error for error in alike if _depth(error["loc"]) == depth]
    return [error for error in deep if _path(error["loc"]) == _path(deep[0]["loc"])]


def _depth(loc: tuple[int | str, ...]) -> int:
    return _path(loc).count(".") + _path(loc).count("[")


def _path(loc: tuple[int | str, ...], last: str = "") -> str:
    """`messages[0].content` for ('messages', 0, 'content'); union branches are left out."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            if path and part in UNION_BRANCHES:
                continue
            path += f".{part}" if path else part
    path = f"{path}.{last}" if path and last else path or last
    return path or BODY


def _reasons(errors: list[ErrorDetails]) -> str:
    """`input should be a valid string or a valid list` for the branches of a union.

    A branch that refuses the value for more than its kind has the only say.
    """
    words = dict.fromkeys(_words(error) for error in errors)
    first, *others = [w for w in words if not w.startswith(KIND)][:1] or words
    return " or ".join([_lower(first), *(m.removeprefix(KIND) for m in others)])


def _words(error: ErrorDetails) -> str:
    """pydantic speaks of dictionaries and classes of ours where JSON has objects."""
    return "Input should be an object" if error["type"] in OBJECTS else error["msg"]


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
