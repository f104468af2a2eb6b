"""What can go wrong, by name, HTTP status, FastChat's number and OpenAI's words.

ServeError                   500  50001  server_error
├── BadRequest               400  40001  invalid_request_error
│   ├── OutOfRange           400  40302
│   ├── PromptTooLong        400  40303  context_length_exceeded
│   └── BodyTooLarge         413  40001
├── Unauthorized             401  40101  invalid_api_key
├── UnknownRoute             404  40001
├── WrongMethod              405  40001
├── UnknownModel             404  40301  model_not_found
├── Overloaded               429  42903
├── NoWorker                 503  50005
├── NotReady                 503  50005
├── OutOfMemory              503  50002
├── WorkerLost               502  50006
│   ├── WorkerUnreachable    502  50006
│   └── DeviceLost           502  50006
└── WorkerSilent             504  50006

A class states the facts, the raiser writes the sentence. The numbers are FastChat's
`ErrorCode`. `StartError` stands apart: it is a program that cannot start, not a request.
"""

from typing import Any, ClassVar, Self

SOMEBODY = "the worker"  # who is blamed where nobody says whose worker it is
LONGEST_QUOTE = 80  # characters of a stranger's words in a sentence of ours


class ServeError(Exception):
    """A request that cannot be served: `told` is one sentence for the person who sent it, `str()`
    the one for the log.

    They differ where another server is to blame. `peer` is its address, the message what it did,
    "was silent for too long", and `why` the cause in its own words or the system's; whoever sent
    the request reads neither address nor cause.
    """

    status: ClassVar[int] = 500
    code: ClassVar[int] = 50001
    kind: ClassVar[str] = "server_error"
    slug: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        peer: str = "",
        why: str = "",
    ) -> None:
        cause = " ".join(why.split())  # a line of the log stays one line
        super().__init__(
            " ".join([peer, message] if peer else [message]) + (cause and f": {cause}")
        )
        self.param = param
        self.retry_after = retry_after
        self.peer = peer
        self.told = f"{SOMEBODY} {message}" if peer else message
        self._did = message if peer else ""

    @property
    def logged(self) -> str:
        """`str()` on one line, whatever strangers have said."""
        return " ".join(str(self).split())

    def blame(self, whom: str) -> Self:
        """Tell it of `whom`, such as the worker of a model; nobody is blamed without a peer."""
        if self._did:
            self.told = f"{whom} {self._did}"
        return self

    def envelope(self) -> dict[str, Any]:
        """OpenAI's error object, with FastChat's object/message/code beside it."""
        error = {
            "message": self.told,
            "type": self.kind,
            "param": self.param,
            "code": self.slug,
        }
        return {"error": error, "object": "error", "message": self.told, "code": self.code}


class BadRequest(ServeError):
    status, code, kind, slug = 400, 40001, "invalid_request_error", "invalid_value"


class OutOfRange(BadRequest):
    code, slug = 40302, "out_of_range"


class PromptTooLong(BadRequest):
    code, slug = 40303, "context_length_exceeded"


class BodyTooLarge(BadRequest):
    status, slug = 413, "body_too_large"


class Unauthorized(ServeError):
    status, code, kind, slug = 401, 40101, "invalid_request_error", "invalid_api_key"


class UnknownRoute(ServeError):
    status, code, kind, slug = 404, 40001, "invalid_request_error", "unknown_url"


class WrongMethod(ServeError):
    status, code, kind, slug = 405, 40001, "invalid_request_error", "method_not_allowed"


class UnknownModel(ServeError):
    status, code, kind, slug = 404, 40301, "invalid_request_error", "model_not_found"


class Overloaded(ServeError):
    status, code, kind, slug = 429, 42903, "rate_limit_error", "overloaded"


class NoWorker(ServeError):
    status, code, slug = 503, 50005, "no_worker"


class NotReady(ServeError):
    status, code, slug = 503, 50005, "not_ready"


class OutOfMemory(ServeError):
    status, code, slug = 503, 50002, "out_of_memory"


class WorkerLost(ServeError):
    status, code, slug = 502, 50006, "worker_lost"


class WorkerUnreachable(WorkerLost):
    """Nothing listens at the worker's address: it is dead, not slow."""

    slug = "worker_unreachable"


class DeviceLost(WorkerLost):
    """The worker's card answers nothing more: the worker ends, and is to be started again."""

    slug = "device_lost"


class WorkerSilent(ServeError):
    status, code, slug = 504, 50006, "worker_timeout"


BY_CODE: dict[int, type[ServeError]] = {
    40001: BadRequest,
    40301: UnknownModel,
    40302: OutOfRange,
    40303: PromptTooLong,
    42903: Overloaded,
    50001: ServeError,
    50002: OutOfMemory,
    50005: NoWorker,
    50006: WorkerLost,
}


def from_code(code: int, message: str) -> ServeError:
    """The error that a peer reported by number; an unknown number is a plain ServeError."""
    return BY_CODE.get(code, ServeError)(message)


def stopping() -> NotReady:
    """What a worker that takes nothing new says, whichever of its rooms is asked."""
    return NotReady("this worker is stopping; ask another one")


def worker_of(model: str) -> str:
    """Whom clients know a worker as."""
    return f"{SOMEBODY} of model {shown(model)!r}"


def shown(text: str) -> str:
    """A stranger's words as a sentence can carry them: on one line, and not many."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 3] + "..."


class StartError(Exception):
    """A program that cannot start; `str()` says what is wrong and what would be right."""
