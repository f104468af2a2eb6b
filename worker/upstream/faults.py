"""What an upstream says when it refuses or fails, by the names of our errors. Pure.

An error's sentence is for clients. What only the log and whoever started the worker may read, the
address and what is said of the key, is in its notes.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from ...adapters.errors import (
    BadRequest,
    BodyTooLarge,
    NotReady,
    OutOfMemory,
    Overloaded,
    PromptTooLong,
    ServeError,
    UnknownModel,
    UnknownRoute,
    WorkerLost,
    WorkerSilent,
    from_code,
)
from .redaction import Redaction

TOO_LONG = re.compile(  # of vLLM, SGLang, llama.cpp, llama-cpp-python, OpenAI and FastChat
    r"context[ _](length|window|size)|maximum context|exceed_context_size", re.IGNORECASE
)
NO_MODEL = re.compile(r"model.{0,200}(not (found|exist)|does ?n.t exist)|model_not_found", re.S)
WHOLE = 4000  # characters of an answer that are looked at
LONGEST = 300  # characters of an upstream's own sentence that are passed on
REFUSALS = range(400, 500)
KEY_REFUSED = (401, 403)

KINDS: dict[int, type[ServeError]] = {
    408: WorkerSilent,
    413: BodyTooLarge,
    429: Overloaded,
    502: WorkerLost,
    503: NotReady,
    504: WorkerSilent,
    507: OutOfMemory,
}


def refusal(
    url: str,
    status: int,
    raw: bytes,
    retry_after: str | None = None,
    redaction: Redaction | None = None,
) -> ServeError:
    """The error in an answer with another status than 200."""
    redaction = redaction or Redaction()
    words, param = _words(raw)
    if status in KEY_REFUSED:
        return _refused_key(url, status, words, redaction)
    told = _cut(redaction.for_clients(words))
    if status in (404, 405):
        return _missing(url, told, redaction)
    error = _kind(status, words)(f"the upstream says: {told}", param=param)
    error.retry_after = _seconds(retry_after)
    return error


def in_the_stream(event: dict[str, Any], redaction: Redaction) -> ServeError | None:
    """The error that an event reports, in the middle of an answer; None for a good one."""
    if event.get("error") is None and event.get("object") != "error" and "error_code" not in event:
        return None
    raw = json.dumps(event).encode()
    words, _ = _words(raw)
    sentence = f"the upstream broke the answer off: {_cut(redaction.for_clients(words))}"
    number = event.get("error_code")
    if isinstance(number, int) and number:  # danlu's and FastChat's
        return from_code(number, sentence)
    detail = event.get("error")
    status = _status(
        (detail.get("code") if isinstance(detail, dict) else None) or event.get("code")
    )
    if status in KEY_REFUSED:
        return _refused_key(redaction.url, status, words, redaction)
    return _kind(status, words)(sentence)


def unconnected(error: ServeError, what: str, redaction: Redaction) -> ServeError:
    """An error of the connection, as clients learn of it: `what` happened, but not where."""
    if isinstance(error, WorkerSilent):
        what = "was silent for too long"
    return noted(type(error)(f"{redaction.name} {what}"), str(error))


def noted(error: ServeError, note: str) -> ServeError:
    error.add_note(note)
    return error


def notes(error: ServeError) -> str:
    """What only the log is told, if there is anything."""
    return "; ".join(getattr(error, "__notes__", ()))


def in_full(exc: ServeError) -> str:
    """Whoever starts the worker may know all of it."""
    return notes(exc) or str(exc)


def _refused_key(url: str, status: int, words: str, redaction: Redaction) -> ServeError:
    said = _cut(redaction.for_the_log(words))
    note = f"{url} refuses this worker's key with status {status}: {said}"
    return noted(ServeError(f"{redaction.name} refuses this worker's key"), note)


def _kind(status: int, words: str) -> Callable[..., ServeError]:
    if status in KINDS:
        return KINDS[status]
    if status in REFUSALS:
        return PromptTooLong if TOO_LONG.search(words) else BadRequest
    return PromptTooLong if "exceed_context_size" in words else ServeError


def _missing(url: str, words: str, redaction: Redaction) -> ServeError:
    """A model that is gone, or a route that this server does not have."""
    if NO_MODEL.search(words):
        return UnknownModel(f"the upstream does not serve this model any more: {words}")
    error = UnknownRoute(f"the upstream has no {redaction.path_of(url)}: {words}")
    return noted(error, f"{url} is not there: {words}")


def _words(raw: bytes) -> tuple[str, str | None]:
    """The sentence and the field that a body names; the body itself if it names none."""
    text = raw.decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    param = None
    if isinstance(data, dict):
        inner = data.get("detail")  # FastChat's refusal of a key lies in there
        detail = (inner if isinstance(inner, dict) else data).get("error", data)
        if isinstance(detail, dict):
            param = detail.get("param") if isinstance(detail.get("param"), str) else None
            kind = detail.get("type") if TOO_LONG.search(str(detail.get("type"))) else None
            told = (detail.get(name) for name in ("message", "detail", "text", "code"))
            said = next((one for one in told if one), detail)
            text = " ".join(str(part) for part in (kind, said) if part)
        else:
            text = str(detail)
    return " ".join(text[:WHOLE].split()) or "nothing more", param


def _cut(line: str) -> str:
    """Comes after every redaction: half an address is no longer known as one."""
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _status(code: object) -> int:
    """Of an event, whose code is a number, LiteLLM's its text, or a word."""
    if isinstance(code, str) and code.isdecimal():
        return int(code)
    return code if isinstance(code, int) else 500


def _seconds(retry_after: str | None) -> int | None:
    """A Retry-After in seconds; the form that is a date is passed over."""
    return int(retry_after) if retry_after and retry_after.strip().isdecimal() else None
