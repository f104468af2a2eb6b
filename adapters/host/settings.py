"""Settings: one dataclass a program; flags, variables, help and docs come from its fields.

    @dataclass(frozen=True, slots=True)
    class ControllerSettings:
        port: int = knob(21001, "port to listen on", low=0, high=65535)

    settings = settings_from(ControllerSettings, argv, os.environ, "DANLU_CONTROLLER_")

A flag wins over a variable, a variable over the default. Unambiguous prefixes of flags are
accepted (FastChat's documentation relies on them). A list's flag that is given again adds to it; of
any other the last counts. A value that does not parse, or lies out of
range, is a `StartError`; so is a flag of another program's that this one knows but cannot honour.
"""

import argparse
import dataclasses
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import StartError

T = TypeVar("T")

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})
WANTED = {int: "an integer", float: "a number"}
WHOLE = "\0"  # between texts that may hold anything; no argument or variable can hold it


def knob(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    env: Sequence[str] = (),
    aliases: Sequence[str] = (),
    whole: bool = False,
) -> Any:
    """A field of a settings dataclass.

    `choices` are the legal words, `low` and `high` the inclusive bounds of a number, `env` further
    variable names (FastChat's) beside the prefixed one, `aliases` further spellings of the flag. A
    list's texts are cut at commas, unless it is of `whole` ones, each with a flag to itself.
    """
    metadata = {
        "help": help,
        "choices": tuple(choices),
        "low": low,
        "high": high,
        "env": tuple(env),
        "aliases": tuple(aliases),
        "by": WHOLE if whole else ",",
    }
    return dataclasses.field(default=default, metadata=metadata)


def knob_of(cls: type[Any], name: str) -> Any:
    """The knob `name` of another program's settings, for a field that means the same here."""
    (found,) = (field for field in fields(cls) if field.name == name)
    return dataclasses.field(default=found.default, metadata=found.metadata)


def settings_from(
    cls: type[T],
    argv: Sequence[str],
    environ: Mapping[str, str],
    prefix: str,
    *,
    prog: str | None = None,
    refused: Mapping[str, str] | None = None,
    off: Mapping[str, Collection[str]] | None = None,
    as_transformers: bool = False,
) -> T:
    """The settings that flags and environment spell; raises StartError for anything illegal.

    `refused` maps a flag that is understood but not honoured to the sentence that says what to do;
    `off` maps it to the values that ask for nothing and are let through. With `as_transformers` a
    flag may have underscores for its hyphens, and a list's values may follow it one by one.
    """
    return given_settings(
        cls,
        argv,
        environ,
        prefix,
        prog=prog,
        refused=refused,
        off=off,
        as_transformers=as_transformers,
    )[0]


def given_settings(
    cls: type[T],
    argv: Sequence[str],
    environ: Mapping[str, str],
    prefix: str,
    *,
    prog: str | None = None,
    refused: Mapping[str, str] | None = None,
    off: Mapping[str, Collection[str]] | None = None,
    idle: Collection[str] = (),
    as_transformers: bool = False,
) -> tuple[T, dict[str, str]]:
    """The same, and the texts that were given: by field, and by flag those of `off` and `idle`.

    `idle` flags are taken whatever their values, for the caller to say that they change nothing.
    """
    assert dataclasses.is_dataclass(cls)
    kinds = get_type_hints(cls)
    parser = _parser(cls, kinds, prefix, prog, several="+" if as_transformers else None)
    for flag in (*(refused or {}), *idle):
        several = "*" if as_transformers else "?"
        parser.add_argument(flag, nargs=several, dest=flag, help=argparse.SUPPRESS)
    words = [_hyphened(word) for word in argv] if as_transformers else list(argv)
    by = {field.name: field.metadata["by"] for field in fields(cls)}
    parsed = vars(parser.parse_args(words)).items()
    given = {name: _joined(value, by.get(name, ",")) for name, value in parsed}
    said = {name: value for name, value in given.items() if name.startswith("--")}
    for flag, reason in (refused or {}).items():
        if flag in said and said[flag].lower() not in (off or {}).get(flag, ()):
            raise StartError(f"{flag} is not supported: {reason}")
    values = {}
    for field in fields(cls):
        text, origin = _spelled(field, given, environ, prefix)
        if text is not None:
            said[field.name] = text
            value = _convert(kinds[field.name], text, origin, by[field.name])
            values[field.name] = _checked(field, value, origin)
    return cls(**values), said


def _hyphened(word: str) -> str:
    """--a_b=c_d as --a-b=c_d."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _joined(value: str | list[str] | None, by: str) -> str:
    """What stood behind a flag; a flag alone says true."""
    if isinstance(value, list):
        return by.join(value) if value else "true"
    return "true" if value is None else value


def flags_table(cls: type[Any], prefix: str) -> str:
    """The Markdown table of a program's flags, as docs/ shows it."""
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for field in fields(cls):
        shown = f"`{_shown(field.default)}`" if _shown(field.default) else "–"
        names = ", ".join([variable_name(field.name, prefix), *field.metadata["env"]])
        choices = field.metadata["choices"]
        meaning = field.metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
        rows.append(f"| `{flag_name(field.name)}` | {shown} | {meaning} · `{names}` |")
    return "\n".join(rows) + "\n"


def flag_name(field: str) -> str:
    return "--" + field.replace("_", "-")


def variable_name(field: str, prefix: str) -> str:
    return prefix + field.upper()


class _Parser(argparse.ArgumentParser):
    """argparse, but what is wrong comes back as a StartError instead of an exit."""

    def error(self, message: str) -> NoReturn:
        raise StartError(f"{message} (--help lists the flags)")


def _parser(
    cls: type[Any], kinds: Mapping[str, Any], prefix: str, prog: str | None, several: str | None
) -> argparse.ArgumentParser:
    doc = (cls.__doc__ or "").strip().splitlines()
    parser = _Parser(
        prog=prog, description=doc[0] if doc else None, argument_default=argparse.SUPPRESS
    )
    for field in fields(cls):
        assert field.default is not MISSING, f"{cls.__name__}.{field.name} has no default"
        default = f"default {_shown(field.default)}; " if _shown(field.default) else ""
        help = f"{field.metadata['help']} ({default}{variable_name(field.name, prefix)})"
        names = [flag_name(field.name), *field.metadata["aliases"]]
        shared: dict[str, Any] = {"dest": field.name, "help": help.replace("%", "%%")}
        if kinds[field.name] is bool:
            parser.add_argument(*names, nargs="?", const="true", metavar="BOOL", **shared)
        else:
            metavar = "|".join(field.metadata["choices"]) or _metavar(kinds[field.name])
            if get_origin(kinds[field.name]) is tuple:
                whole = field.metadata["by"] == WHOLE
                metavar = "TEXT" if whole else metavar
                shared |= _adding(None if whole else several)
            parser.add_argument(*names, metavar=metavar, **shared)
    return parser


def _adding(several: str | None) -> dict[str, Any]:
    """How argparse is told that a flag adds to what it has; `several` values may follow one."""
    return {"action": "extend", "nargs": several} if several else {"action": "append"}


def _spelled(
    field: "Field[Any]", given: Mapping[str, str], environ: Mapping[str, str], prefix: str
) -> tuple[str | None, str]:
    if field.name in given:
        return given[field.name], flag_name(field.name)
    for name in (variable_name(field.name, prefix), *field.metadata["env"]):
        if name in environ:
            return environ[name], name
    return None, ""


def _convert(kind: Any, text: str, origin: str, by: str = ",") -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (k for k in get_args(kind) if k is not type(None))
        return None if text == "" else _convert(kind, text, origin)
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(by) if part.strip())
    if kind is bool:
        return _truth(text, origin)
    try:
        convert: Callable[[str], Any] = kind
        return convert(text)
    except StartError as exc:  # a type of the program's own, which knows no flag
        raise StartError(f"{origin}: {exc}") from None
    except ValueError:
        raise StartError(f"{origin} wants {WANTED.get(kind, 'text')}, not {text!r}") from None


def _truth(text: str, origin: str) -> bool:
    if text.lower() in TRUE_WORDS:
        return True
    if text.lower() in FALSE_WORDS:
        return False
    raise StartError(f"{origin} wants true or false, not {text!r}")


def _checked(field: "Field[Any]", value: Any, origin: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise StartError(f"{origin} wants a finite number, not {value}")
    choices, low, high = (field.metadata[k] for k in ("choices", "low", "high"))
    for one in value if isinstance(value, tuple) else (value,):
        if choices and one not in choices:
            raise StartError(f"{origin} wants one of {', '.join(choices)}, not {one!r}")
    if value is not None and low is not None and value < low:
        raise StartError(f"{origin} wants at least {low}, not {value}")
    if value is not None and high is not None and value > high:
        raise StartError(f"{origin} wants at most {high}, not {value}")
    return value


def _metavar(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (k for k in get_args(kind) if k is not type(None))
    if get_origin(kind) is tuple:
        return "A,B"
    return {int: "INTEGER", float: "NUMBER"}.get(kind, "TEXT")


def _shown(default: Any) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)
