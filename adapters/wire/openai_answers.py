"""OpenAI's answers as JSON objects: whole ones and chunks, of chats and of completions.

Field for field FastChat's, with the faults of its streams mended (fastchat.md §3.3): every chunk
has id, object, created and model. Knows no worker and no socket.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # FastChat's, of shortuuid
ID_LENGTH = 22


@dataclass(slots=True)
class Choice:
    """One answer while it grows. Owned by the request that asked for it.

    `prompt_logprobs` are vLLM's, of the prompt's own tokens, None where nobody asked for them.
    With `echo` the first of the other `logprobs` are the prompt's, too.
    """

    index: int
    text: str = ""
    logprobs: dict[str, list[Any]] | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_logprobs: list[Any] | None = None
    echo: bool = False

    @property
    def answer_logprobs(self) -> list[float]:
        """Of the answer's own tokens, as many as have a text."""
        values = (self.logprobs or {}).get("token_logprobs", [])
        own = values[self.prompt_tokens if self.echo else 0 :]
        return [value for value in own if value is not None]

    def add_logprobs(self, new: Mapping[str, list[Any]] | None) -> None:
        if new is None:
            return
        if self.logprobs is None:
            self.logprobs = {key: [] for key in new}
        for key, values in new.items():
            self.logprobs.setdefault(key, []).extend(values)


def usage_of(choices: Sequence[Choice], per_prompt: int) -> dict[str, int]:
    """Tokens of a request: each prompt's once, however many answers it has."""
    prompts = [choices[i : i + per_prompt] for i in range(0, len(choices), per_prompt)]
    prompt = sum(max(choice.prompt_tokens for choice in same) for same in prompts)
    completion = sum(choice.completion_tokens for choice in choices)
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }


class Shape(Protocol):
    """How the answers to one kind of request look."""

    def opening(self, index: int) -> dict[str, Any] | None:
        """The chunk before a choice's first text, if there is one."""
        ...

    def scores(self, index: int, prompt_logprobs: list[Any]) -> dict[str, Any]:
        """The chunk that tells what the model made of the prompt."""
        ...

    def chunk(self, index: int, text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]: ...

    def closing(self, index: int, reason: str) -> dict[str, Any]: ...

    def counts(self, usage: dict[str, int]) -> dict[str, Any]:
        """The last chunk of a stream that was asked for its usage."""
        ...

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Head:
    """What every object of one answer has in common; `counted` streams announce their usage."""

    id: str
    created: int
    model: str
    counted: bool = False

    def chunk(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        chunk = {**self._begin(kind), "choices": [choice]}
        return {**chunk, "usage": None} if self.counted else chunk

    def counts(self, kind: str, usage: dict[str, int]) -> dict[str, Any]:
        return {**self._begin(kind), "choices": [], "usage": usage}

    def whole(
        self, kind: str, choices: list[dict[str, Any]], usage: dict[str, int]
    ) -> dict[str, Any]:
        return {**self._begin(kind), "choices": choices, "usage": usage}

    def _begin(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class ChatShape:
    """Answers of /v1/chat/completions; `alternatives` None for no log-probabilities.

    Those of the prompt stand beside the choices, as in vLLM's answers: there is one prompt.
    """

    head: Head
    alternatives: int | None = None

    def opening(self, index: int) -> dict[str, Any]:
        return self._chunk(index, {"role": "assistant"}, None)

    def scores(self, index: int, prompt_logprobs: list[Any]) -> dict[str, Any]:
        return {**self._chunk(index, {}, None), "prompt_logprobs": prompt_logprobs}

    def chunk(self, index: int, text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]:
        return self._chunk(index, {"content": text}, None, logprobs)

    def closing(self, index: int, reason: str) -> dict[str, Any]:
        return self._chunk(index, {}, reason)

    def counts(self, usage: dict[str, int]) -> dict[str, Any]:
        return self.head.counts("chat.completion.chunk", usage)

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]:
        told = self.head.whole("chat.completion", [self._choice(one) for one in choices], usage)
        return {**told, **_of_the_prompt(choices[0].prompt_logprobs)}

    def _choice(self, choice: Choice) -> dict[str, Any]:
        message = {"role": "assistant", "content": choice.text}
        return {
            "index": choice.index,
            "message": message,
            **self._logprobs(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        reason: str | None,
        logprobs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, **self._logprobs(logprobs)}
        return self.head.chunk("chat.completion.chunk", {**choice, "finish_reason": reason})

    def _logprobs(self, logprobs: Mapping[str, Any] | None) -> dict[str, Any]:
        if self.alternatives is None:
            return {}
        return {"logprobs": chat_logprobs(logprobs, self.alternatives) if logprobs else None}


@dataclass(frozen=True, slots=True)
class CompletionShape:
    """Answers of /v1/completions. Without `logprobs` none are told, though they may be known."""

    head: Head
    logprobs: bool = True

    def opening(self, index: int) -> None:
        return None

    def scores(self, index: int, prompt_logprobs: list[Any]) -> dict[str, Any]:
        choice = {**_completion(index, "", None, None), "prompt_logprobs": prompt_logprobs}
        return self.head.chunk("text_completion", choice)

    def chunk(self, index: int, text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]:
        return self.head.chunk("text_completion", _completion(index, text, logprobs, None))

    def closing(self, index: int, reason: str) -> dict[str, Any]:
        return self.head.chunk("text_completion", _completion(index, "", None, reason))

    def counts(self, usage: dict[str, int]) -> dict[str, Any]:
        return self.head.counts("text_completion", usage)

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]:
        return self.head.whole("text_completion", [self._choice(one) for one in choices], usage)

    def _choice(self, choice: Choice) -> dict[str, Any]:
        logprobs = choice.logprobs if self.logprobs else None
        told = _completion(choice.index, choice.text, logprobs, choice.finish_reason)
        return {**told, **_of_the_prompt(choice.prompt_logprobs)}


def _completion(
    index: int, text: str, logprobs: Mapping[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _of_the_prompt(prompt_logprobs: list[Any] | None) -> dict[str, Any]:
    return {} if prompt_logprobs is None else {"prompt_logprobs": prompt_logprobs}


def chat_logprobs(logprobs: Mapping[str, Any], alternatives: int) -> dict[str, Any]:
    """Log-probabilities in the chat's style, from the completions' style."""
    tokens, values = logprobs["tokens"], logprobs["token_logprobs"]
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    content = [
        {**_token(token, value), "top_logprobs": _most_probable(top or {}, alternatives)}
        for token, value, top in zip(tokens, values, tops, strict=False)
    ]
    return {"content": content, "refusal": None}


def _most_probable(top: Mapping[str, float], count: int) -> list[dict[str, Any]]:
    ranked = sorted(top.items(), key=lambda item: -item[1])
    return [_token(token, value) for token, value in ranked[:count]]


def _token(token: str, value: float | None) -> dict[str, Any]:
    """A token that is half a character has no text whose bytes could be told."""
    known = None if "\ufffd" in token else list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": value, "bytes": known}
