"""Server-sent events as OpenAI's clients read them; knows no field but those of an error."""

import json
from collections.abc import Mapping
from typing import Any

from ..errors import ServeError
from .fastchat import error_frame

DONE = b"data: [DONE]\n\n"
JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps makes one a call


def event(data: Mapping[str, Any]) -> bytes:
    """One event that carries a JSON object, as UTF-8."""
    # A lone half of a surrogate pair has no UTF-8; a "?" is better than a stream that ends.
    return b"data: " + JSON.encode(data).encode("utf-8", "replace") + b"\n\n"


def error_event(exc: ServeError) -> bytes:
    """An error after the stream has begun: OpenAI's envelope and FastChat's frame in one."""
    return event({**exc.envelope(), **error_frame(exc)})
