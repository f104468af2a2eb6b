"""The tokens of one step: at once on the device, a little later on the host. Chooses nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..adapters.errors import ServeError
from .batch import Row, Some
from .cuts import Limits, drawn_from_head, larger, top
from .parcel import Parcel
from .workspace import Workspace

INFINITE = float("inf")
ALTERNATIVES = 64  # are put in order; more than anybody may ask for, lest equals depend on others


@dataclass(frozen=True, slots=True)
class Choice:
    """A token; with its log-probability and the most probable ones' where they were asked for.

    Of a prompt's own token the `rank` is known, too: 1 is the most probable.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Rows whose tokens hold, unless `beyond` [rows] says that a cut reaches beyond the head."""

    some: Some
    scores: Tensor
    limits: Limits
    chances: Tensor
    size: int
    beyond: Tensor
    space: Workspace

    def settle(self, beyond: Sequence[float]) -> dict[int, int]:
        """The right tokens of those rows, by their place in the batch, by the same chances."""
        places = [at for at, flag in enumerate(beyond) if flag]
        right = self._drawn(places) if places else []
        self.space.give(self.scores)
        return {self.some.where[at]: token for at, token in zip(places, right, strict=True)}

    def _drawn(self, places: Sequence[int]) -> list[int]:
        rows = torch.tensor(places, device=self.scores.device)
        scores, chances = (x.index_select(0, rows) for x in (self.scores, self.chances))
        limits = self.limits.of(rows)
        for size in larger(self.size, scores.shape[1]):
            tokens, short = drawn_from_head(scores, limits, chances, size)
            if not short.any():
                break
        found: list[int] = tokens.tolist()
        return found


@dataclass(frozen=True, slots=True)
class Quotes:
    """Rows that want log-probabilities, [rows, vocabulary], and the best of each, [rows, n]."""

    some: Some
    logprobs: Tensor
    values: Tensor
    ids: Tensor

    @classmethod
    def of(cls, logits: Tensor, some: Some, alternatives: int) -> "Quotes":
        logprobs = some.of(logits).float().log_softmax(-1)
        values, ids = top(logprobs, ALTERNATIVES)
        return cls(some, logprobs, values[:, :alternatives], ids[:, :alternatives])

    def parts(self, tokens: Tensor) -> list[Tensor]:
        own = self.logprobs.gather(1, self.some.of(tokens).unsqueeze(1))
        return [own, self.values, self.ids]


class Draw:
    """What one step chose. Owned by the thread that runs the model.

    `tokens`, [rows] on the device, can be the next step's input at once. They are final after
    `read`, which puts right, in place, rows whose top_p reaches beyond the head that was looked at;
    it names these rows in `redone`. `final_without_read` says that no row can need it.
    """

    def __init__(
        self,
        tokens: Tensor,
        peaks: Tensor,
        left: Tensor | None,
        rows: Sequence[tuple[Row, int]],
        doubts: Sequence[Doubt],
        quotes: Quotes | None,
        amend: Callable[[Row, int, int], None],
    ) -> None:
        """`peaks` are the highest logits, `left` the highest scores after all edits; `rows` each
        with the number of tokens before this one. `amend` is told of a row's other token."""
        self.tokens = tokens
        self.redone: tuple[int, ...] = ()
        self._rows = tuple(rows)
        self._doubts = tuple(doubts)
        self._quotes = quotes
        self._amend = amend
        self._edited = left is not None
        self._parcel = Parcel(
            [tokens, peaks]
            + ([] if left is None else [left])
            + [doubt.beyond for doubt in doubts]
            + ([] if quotes is None else quotes.parts(tokens))
        )
        self._choices: list[Choice | ServeError] | None = None

    @property
    def final_without_read(self) -> bool:
        return not self._doubts

    @torch.inference_mode()
    def read(self) -> list[Choice | ServeError]:
        """Each row's choice, or why it has none. Waits for the device, in all but rare cases once.

        What was kept for it is let go; a second call gives the same.
        """
        if self._choices is None:
            self._choices = self._read()
            self._doubts, self._quotes = (), None
        return self._choices

    def _read(self) -> list[Choice | ServeError]:
        tokens, peaks, *more = self._parcel.open()
        left = more.pop(0) if self._edited else peaks
        right: dict[int, int] = {}
        for doubt in self._doubts:
            right.update(doubt.settle(more.pop(0)))
        for at, token in right.items():
            tokens[at] = token
            self.tokens[at] = token
            self._amend(*self._rows[at], token)
        self.redone = tuple(sorted(right))
        if right and self._quotes is not None:
            more = Parcel(self._quotes.parts(self.tokens)).open()
        choices = self._choices_of(tokens, more)
        return [
            _fault(produced + 1, peaks[at], left[at]) or choices[at]
            for at, (_, produced) in enumerate(self._rows)
        ]

    def _choices_of(self, tokens: list[float], quoted: list[list[float]]) -> list[Choice]:
        choices = [Choice(int(token)) for token in tokens]
        if self._quotes is None:
            return choices
        own, values, ids = quoted
        width = self._quotes.ids.shape[1]
        for number, at in enumerate(self._quotes.some.where):
            wanted = self._rows[at][0].logprobs or 0
            part = slice(number * width, number * width + min(wanted, width))
            top = tuple(zip(map(int, ids[part]), values[part], strict=True))
            choices[at] = Choice(choices[at].token, own[number], top)
        return choices


def _fault(number: int, peak: float, left: float) -> ServeError | None:
    if not abs(peak) < INFINITE:  # NaN too
        return ServeError(
            f"the model's output is not a number at token {number} "
            f"(its highest logit is {peak}); try --dtype float32 or bfloat16"
        )
    if not left > -INFINITE:
        return ServeError(
            f"no token is left to choose from at token {number}: what is banned before min_tokens "
            "and what the grammar does not allow are all there is"
        )
    return None
