"""How a question is spelled for each kind of server, and how its answer is read. No socket here."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ...adapters.errors import ServeError, WorkerLost
from ...adapters.wire import frames, sse_reader
from ...adapters.wire.fastchat import error_in
from ...adapters.wire.generation import Usage
from .prompts import Question

DONE = "[DONE]"
QUOTE = 80  # characters of what was no chunk


@dataclass(frozen=True, slots=True)
class Wishes:
    """What all requests of a run have in common."""

    model: str
    temperature: float = 0.0
    ignore_eos: bool = False

    def fields(self) -> dict[str, Any]:
        """`ignore_eos` is vLLM's word and ours; a server that does not know it is not told."""
        more = {"ignore_eos": True} if self.ignore_eos else {}
        return {"model": self.model, "temperature": self.temperature, **more}


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one chunk brought: whether there was text in it, how the answer ended, its tokens."""

    text: bool = False
    finish: str = ""
    usage: Usage | None = None


class Reader(Protocol):
    """Feed it the bytes of one answer as they arrive, cut anywhere."""

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks that are whole; raises ServeError for one that carries an error."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """A kind of server: where it is asked, in which words, and how it answers."""

    path: str
    body: Callable[[Question, Wishes], dict[str, Any]]
    reader: Callable[[], Reader]


def chat_body(question: Question, wishes: Wishes) -> dict[str, Any]:
    messages = [{"role": "user", "content": question.prompt}]
    return {"messages": messages, **_openai(question, wishes)}


def completions_body(question: Question, wishes: Wishes) -> dict[str, Any]:
    return {"prompt": question.prompt, **_openai(question, wishes)}


def _openai(question: Question, wishes: Wishes) -> dict[str, Any]:
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    return {**wishes.fields(), "max_tokens": question.tokens, **streamed}


def worker_body(question: Question, wishes: Wishes) -> dict[str, Any]:
    asked = {"prompt": question.prompt, "max_new_tokens": question.tokens, "echo": False}
    return {**wishes.fields(), **asked}


class OpenAIReader:
    """Server-sent events with chat or completion chunks."""

    def __init__(self) -> None:
        self._decoder = sse_reader.Decoder()

    def feed(self, data: bytes) -> Iterator[Chunk]:
        for datum in self._decoder.feed(data):
            if datum != DONE:
                yield _openai_chunk(_object(datum))


class WorkerReader:
    """FastChat's frames, whose text is the whole one so far."""

    def __init__(self) -> None:
        self._decoder = frames.Decoder()
        self._text = ""

    def feed(self, data: bytes) -> Iterator[Chunk]:
        for frame in self._decoder.feed(data):
            _raise_error(frame)
            grown = frame.get("text", "") != self._text
            self._text = frame.get("text", "")
            yield Chunk(grown, frame.get("finish_reason") or "", _usage(frame))


DIALECTS = {
    "chat": Dialect("/chat/completions", chat_body, OpenAIReader),
    "completions": Dialect("/completions", completions_body, OpenAIReader),
    "worker": Dialect("/worker_generate_stream", worker_body, WorkerReader),
}


def _openai_chunk(chunk: dict[str, Any]) -> Chunk:
    _raise_error(chunk)
    text, finish = False, ""
    for choice in chunk.get("choices") or ():
        text = text or bool(choice.get("text") or (choice.get("delta") or {}).get("content"))
        finish = choice.get("finish_reason") or finish
    return Chunk(text, finish, _usage(chunk))


def _usage(chunk: dict[str, Any]) -> Usage | None:
    return Usage.model_validate(chunk["usage"]) if chunk.get("usage") else None


def _raise_error(chunk: dict[str, Any]) -> None:
    if (error := error_in(chunk)) is not None:
        raise error
    if "error" in chunk:
        error_field = chunk["error"]
        words = error_field.get("message") if isinstance(error_field, dict) else error_field
        raise ServeError(str(words))


def _object(datum: str) -> dict[str, Any]:
    try:
        chunk = json.loads(datum)
    except (ValueError, RecursionError) as exc:
        raise WorkerLost(f"an event is no JSON: {datum[:QUOTE]!r}") from exc
    if not isinstance(chunk, dict):
        raise WorkerLost(f"an event is no object: {datum[:QUOTE]!r}")
    return chunk
