"""FastChat's bodies between controller, workers and clients, except generation.

Protocol: FastChat 0.2.36 and main 0e6d3e4b (identical here), as their controller and
base_model_worker speak it. Unknown fields of a registration or a heart-beat are ignored, so that
newer peers can say more. `Capabilities` is ours: what a danlu worker offers beyond FastChat.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..errors import ServeError, from_code
from .discretion import discreet
from .generation import Text

SERVER_ERROR_MSG = "**NETWORK ERROR DUE TO HIGH TRAFFIC. PLEASE REGENERATE OR REFRESH THIS PAGE.**"

MOST = 10**9  # of anything that a worker counts; sums of it stay numbers that JSON can carry


class Lenient(BaseModel):
    """A body whose unknown fields are ignored and whose known ones must have the right type."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


class WorkerStatus(Lenient):
    """What a worker serves and how busy it is; `queue_length` counts running and waiting."""

    model_names: list[str]
    speed: float = Field(ge=0, le=MOST)
    queue_length: int = Field(ge=0, le=MOST)


class Capabilities(Lenient):
    """What a danlu worker offers beyond FastChat's wire; a stock worker has none.

    `parameters` are the fields of a generation body that this worker honours.
    """

    version: str
    context_length: int
    deltas: bool
    messages: bool
    embeddings: bool
    parameters: list[str]


class Registration(Lenient):
    """POST /register_worker. `worker_name` is the worker's base URL."""

    worker_name: str = Field(min_length=1)
    check_heart_beat: bool
    worker_status: WorkerStatus | None = None
    multimodal: bool = False


class HeartBeat(Lenient):
    """POST /receive_heart_beat."""

    worker_name: str
    queue_length: int = Field(ge=0, le=MOST)


class Departure(Lenient):
    """POST /unregister_worker (ours): a worker that stops says so."""

    worker_name: str


class ModelBody(Lenient):
    """A body of which only the model's name counts."""

    model: str


class WorkerQuery(Lenient):
    """A question to a worker about its model; FastChat's workers of one model ignore the name."""

    model: str | None = None


class CountBody(Lenient):
    """POST /count_token."""

    prompt: Text
    model: str | None = None


class AdapterName(BaseModel):
    """POST /worker_unload_adapter (ours)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Text


class AdapterBody(AdapterName):
    """POST /worker_load_adapter (ours). `path` lies below the worker's directory of adapters."""

    path: Text


class EmbeddingsBody(BaseModel):
    """POST /worker_get_embeddings."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    model: str | None = None
    input: list[Text] = Field(min_length=1, fail_fast=True)
    encoding_format: str | None = Field(default=None, pattern="^(float|base64)$")


def error_frame(exc: ServeError) -> dict[str, Any]:
    """An error as a frame: FastChat's banner with the cause in brackets, and the number.

    `retry_after`, in seconds, is ours; FastChat's readers pass it over.
    """
    frame = {"text": f"{SERVER_ERROR_MSG}\n\n({exc.told})", "error_code": exc.code}
    return frame if exc.retry_after is None else {**frame, "retry_after": exc.retry_after}


def error_in(frame: dict[str, Any]) -> ServeError | None:
    """The error that a frame carries, with FastChat's banner taken off; None for a good one."""
    code = frame.get("error_code", 0)
    if not isinstance(code, int) or code == 0:
        return None
    text = str(frame.get("text", ""))
    cause = text.removeprefix(SERVER_ERROR_MSG).strip()
    if cause.startswith("(") and cause.endswith(")"):
        cause = cause[1:-1]
    error = reported(code, cause or f"the worker reported error {code}")
    after = frame.get("retry_after")
    error.retry_after = after if isinstance(after, int) and 0 <= after <= MOST else None
    return error


def reported(code: int, words: str) -> ServeError:
    """The error that a peer reported by number; of its own failures clients learn no more than
    they may."""
    error = from_code(code, words)
    if error.status >= ServeError.status:
        error.told = discreet(words) or f"the worker reported error {code}"
    return error
