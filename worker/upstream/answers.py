"""An upstream's events into pieces: what is new, what it cost, why it ended. Pure: no socket."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from ...adapters.errors import BadRequest, ServeError, WorkerLost, shown
from ...adapters.wire.generation import Logprobs, PromptLogprobs, Usage
from ..job import FinishReason, Piece
from ..stops import Stops
from .asking import UpstreamJob
from .faults import in_the_stream, noted
from .logprobs import LogprobReader
from .redaction import Redaction

DONE = "[DONE]"
QUOTED = 80  # characters of what cannot be read that the log shows
ENDS: dict[str, FinishReason] = {"stop": "stop", "eos_token": "stop", "length": "length"}
PLACES: TypeAdapter[PromptLogprobs] = TypeAdapter(PromptLogprobs)


class Answer:
    """Reads the events of one answer in their order. Owned by the task that asked for it.

    The usage is the upstream's; until it says so, and where it never does, an event with text
    counts as one token, and the prompt as `prompt_tokens`. `counted` says otherwise of the text.
    """

    def __init__(
        self, job: UpstreamJob, prompt_tokens: int = 0, redaction: Redaction | None = None
    ) -> None:
        self._redaction = redaction or Redaction()
        self._pending = job.echo
        self._stops = Stops(job.stop)
        self._events = 0
        self.text = ""  # without the echo
        self._usage: Usage | None = None
        self._asked = prompt_tokens
        self._reason: FinishReason | None = None
        self._logprobs = None if job.logprobs is None else LogprobReader(job.logprobs)
        self._owes_prompt = job.prompt_logprobs is not None
        self._of_prompt: PromptLogprobs | None = None  # in no piece yet
        self.begun = self.done = False

    def feed(self, data: str) -> Piece | None:
        """The piece that an event makes, if it brings text; raises the error that it reports."""
        self.begun = True
        if data.strip() == DONE:
            self.done = True
            return None
        event = _object(data, self._redaction)
        try:
            self._count(event.get("usage"))
            choices = event.get("choices") or [{}]
            self._score_prompt(choices[0].get("prompt_logprobs") or event.get("prompt_logprobs"))
            return self._choice(choices[0])
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise _unreadable(data, self._redaction) from exc

    @property
    def untold(self) -> bool:
        """Whether nothing was said of the usage of an answer that has come to its end."""
        return self._usage is None and self._reason is not None

    def counted(self, tokens: int) -> None:
        """The text has so many tokens: an event may bring several, but never half a one."""
        self._events = max(self._events, tokens)

    def end(self) -> Piece:
        """The last piece, once the stream is over; raises WorkerLost if the answer is not whole."""
        if self._reason is None:
            raise WorkerLost("the upstream ended the stream in the middle of an answer")
        if self._owes_prompt:
            raise BadRequest(
                "the upstream tells nothing of the prompt; leave 'prompt_logprobs' out",
                param="prompt_logprobs",
            )
        text, self._pending = self._pending + self._stops.flush(), ""
        rest = None if self._logprobs is None else self._logprobs.take([])
        reason = "stop" if self._stops.hit else self._reason
        return Piece(text, self._total(), rest, reason, self._scores())

    def _choice(self, choice: Mapping[str, Any]) -> Piece | None:
        text = _text(choice)
        logprobs = self._scored(choice.get("logprobs"), text)
        reason = choice.get("finish_reason")
        if reason:
            self._reason = _end(reason)
        if not text and logprobs is None:
            return None
        self._events += 1
        self.text += text
        text = self._stops.feed(text)
        if not text and logprobs is None:
            return None
        text, self._pending = self._pending + text, ""
        return Piece(text, self._total(), logprobs, None, self._scores())

    def _scored(self, raw: Any, text: str) -> Logprobs | None:
        if self._logprobs is None:
            return None
        if raw:
            return self._logprobs.take(self._logprobs.entries(raw))
        if text and not self._events:
            raise BadRequest(
                "the upstream gives no log-probabilities; leave 'logprobs' out", param="logprobs"
            )
        return None

    def _score_prompt(self, raw: Any) -> None:
        """A chat's stand beside the choices, a completion's in its choice."""
        if raw and self._owes_prompt:
            self._of_prompt, self._owes_prompt = PLACES.validate_python(raw), False

    def _scores(self) -> PromptLogprobs | None:
        scores, self._of_prompt = self._of_prompt, None
        return scores

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
            told = _usage(int(prompt or 0), int(completion or 0))
            if told.total_tokens:  # LiteLLM says zero until it knows
                self._usage = told

    def _total(self) -> Usage:
        return self._usage or _usage(self._asked, self._events)


def _usage(prompt: int, completion: int) -> Usage:
    return Usage(
        prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion
    )


def _object(data: str, redaction: Redaction) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _unreadable(data, redaction) from exc
    if not isinstance(event, dict):
        raise _unreadable(data, redaction)
    error = in_the_stream(event, redaction)
    if error is not None:
        raise error
    return event


def _text(choice: Mapping[str, Any]) -> str:
    """The new text of a chat's or a completion's choice; none where there is only a role."""
    text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
    if text is not None and not isinstance(text, str):
        raise TypeError(f"a text is expected, not {type(text).__name__}")
    return text or ""


def _end(reason: object) -> FinishReason:
    end = ENDS.get(str(reason))
    if end is None:
        raise ServeError(f"the upstream gave the answer up: {shown(str(reason))!r}")
    return end


def _unreadable(data: str, redaction: Redaction) -> ServeError:
    """It could hold anything, so clients are not shown it."""
    error = WorkerLost(f"{redaction.name} sent an event that cannot be read")
    said = shown(redaction.for_the_log(data[:QUOTED]))
    return noted(error, f"{redaction.url} sent an event that cannot be read: {said}")
