"""What is trained is what is served: dialogues as token ids, each answer after its served prompt.

A form writes one exchange. Answers share a sample where a prompt begins, id for id, with all that
stands before it in the sample; with ChatGLM2, whose answers are not followed by their end token
once they are history, each has a sample of its own.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ...adapters.models.chatglm import rounds
from ...adapters.models.chatglm.rounds import Conversation
from ..sample import Sample
from .dialogue import Dialogue

KEPT_PROMPT = 4  # one part in so many of a sample is left to the prompt, however long the answer


@dataclass(frozen=True, slots=True)
class Exchange:
    """`prompt` is what is served to be answered, `answer` what is learned, with what ends it.

    `after` stands between the answer and what is said next.
    """

    prompt: list[int]
    answer: list[int]
    after: list[int] = field(default_factory=list)


class Form(Protocol):
    """A model's way to write conversations."""

    key: str  # changes with what it writes

    @property
    def prefix(self) -> int:
        """How many ids stand before every prompt, whatever is cut from it."""

    def exchange(self, spoken: Conversation, answer: str) -> Exchange:
        """The ids of the answer to the last question; raises Unusable."""


@dataclass(frozen=True, slots=True)
class Written:
    """A sample, and what was done to make it fit: rounds left out, question or answer cut."""

    sample: Sample
    rounds: int = 0
    question: bool = False
    answer: bool = False


def written(form: Form, whole: Dialogue, longest: int) -> Iterator[Written]:
    """The samples of a dialogue, none of more than `longest` tokens; raises Unusable."""
    growing, dropped = _Growing(), 0
    for spoken, answer in _exchanges(whole):
        # What does not fit here fits no better before a later question.
        recent = spoken.without(dropped)
        exchange = form.exchange(recent, answer)
        fits = not dropped and _tokens(exchange) <= longest
        if not (fits and growing.begins(exchange)):
            yield from growing.grown()
            growing = _Growing()
        if fits:
            growing.add(exchange)
        else:
            one = _fitted(form, recent, answer, longest)
            dropped += one.rounds
            yield replace(one, rounds=dropped)
    yield from growing.grown()


class _Growing:
    """A sample that more answers may go into."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._after: list[int] = []
        self._trained: list[bool] = []

    def begins(self, exchange: Exchange) -> bool:
        """Whether the exchange's prompt begins with this sample."""
        so_far = [*self._ids, *self._after]
        return exchange.prompt[: len(so_far)] == so_far

    def add(self, exchange: Exchange) -> None:
        read = len(exchange.prompt) - len(self._ids)
        self._ids = [*exchange.prompt, *exchange.answer]
        self._after = exchange.after
        self._trained += [False] * read + [True] * len(exchange.answer)

    def grown(self) -> Iterator[Written]:
        if self._ids:
            yield Written(_sample(self._ids, self._trained))


def _exchanges(whole: Dialogue) -> Iterator[tuple[Conversation, str]]:
    """Every trained answer after what was said before it."""
    turns = [rounds.Turn(turn.role, turn.content) for turn in whole.turns]
    for end, turn in enumerate(whole.turns):
        if turn.role == "assistant" and turn.trained:
            yield rounds.conversation(turns[:end]), turn.content


def _fitted(form: Form, spoken: Conversation, answer: str, longest: int) -> Written:
    """Without the oldest rounds, as in serving; then without the question's beginning; then
    without the answer's end, so that it is not learned to end there."""
    recent, dropped = rounds.cut(
        spoken, lambda part: _tokens(form.exchange(part, answer)) <= longest
    )
    whole = form.exchange(recent, answer)
    room = max(longest - len(whole.answer), longest // KEPT_PROMPT)
    prompt, shortened = whole.prompt, len(whole.prompt) > room
    if shortened:
        prompt = _shortened(form, recent, answer, room)
    kept = whole.answer[: longest - len(prompt)]
    marks = [False] * len(prompt) + [True] * len(kept)
    cut = len(kept) < len(whole.answer)
    return Written(_sample([*prompt, *kept], marks), dropped, shortened, cut)


def _shortened(form: Form, spoken: Conversation, answer: str, room: int) -> list[int]:
    """The prompt with as much of its last question's end as there is `room` for."""
    *earlier, (question, *_) = spoken.rounds

    def prompt(start: int) -> list[int]:
        last = replace(question, content=question.content[start:])
        return form.exchange(replace(spoken, rounds=(*earlier, (last,))), answer).prompt

    most = len(question.content) - 1
    ids = prompt(bisect_left(range(most), True, key=lambda start: len(prompt(start)) <= room))
    excess = max(len(ids) - room, 0)  # a long system text
    return [*ids[: form.prefix], *ids[form.prefix + excess :]]


def _tokens(exchange: Exchange) -> int:
    return len(exchange.prompt) + len(exchange.answer)


def _sample(ids: Sequence[int], trained: Sequence[bool]) -> Sample:
    return Sample(np.array(ids, dtype=np.int32), np.array(trained, dtype=np.bool_))
