"""Keeps tokens' log-probabilities until their text is out, in the completions style."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..adapters.errors import ServeError
from ..adapters.wire.generation import Logprobs, PromptLogprob, PromptLogprobs
from .draw import Choice

LEAST = -9999.0  # JSON has no infinity; OpenAI's word for "never"


@dataclass(frozen=True, slots=True)
class Entry:
    """One token, `offset` characters into the text; the first token of all has no probability."""

    offset: int
    token: str
    logprob: float | None
    top: dict[str, float] | None


class Ledger:
    """One sequence's entries that are not published yet. Owned by the thread that runs it.

    `spell` is a token id's text.
    """

    def __init__(self, spell: Callable[[int], str]) -> None:
        self._spell = spell
        self._entries: list[Entry] = []

    def add(self, choice: Choice, offset: int, most: int | None = None) -> None:
        """One token more, with all alternatives that are known, or `most` of them."""
        if choice.logprob is None:
            self._entries.append(Entry(offset, self._spell(choice.token), None, None))
            return
        top: dict[str, float] = {}
        for token, logprob in choice.top[:most]:  # the likelier of two that are spelled alike
            top.setdefault(self._spell(token), max(logprob, LEAST))
        logprob = max(choice.logprob, LEAST)
        self._entries.append(Entry(offset, self._spell(choice.token), logprob, top))

    def take(self, end: int | None) -> Logprobs:
        """The entries whose text begins before `end`, or all; they are forgotten here."""
        out = [e for e in self._entries if end is None or e.offset < end]
        self._entries = self._entries[len(out) :]
        return Logprobs(
            text_offset=[e.offset for e in out],
            tokens=[e.token for e in out],
            token_logprobs=[e.logprob for e in out],
            top_logprobs=[e.top for e in out],
        )


def scored(logits: Tensor, tokens: Sequence[int], top: int) -> list[Choice]:
    """What the model made of `tokens`, each by the row of logits before it."""
    logprobs = logits[: len(tokens)].float().log_softmax(-1)
    ids = torch.tensor(tokens, device=logits.device)
    mine = logprobs.gather(-1, ids.unsqueeze(-1))
    ranks = ((logprobs > mine).sum(-1) + 1).tolist()
    own = mine.squeeze(-1).tolist()
    best = logprobs.topk(min(top, logprobs.shape[-1]), dim=-1)
    if any(value != value for value in own):
        raise ServeError("the model's output for the prompt is not a number")
    return [
        Choice(token, value, tuple(zip(ids_, values, strict=True)), rank)
        for token, value, ids_, values, rank in zip(
            tokens, own, best.indices.tolist(), best.values.tolist(), ranks, strict=True
        )
    ]


def of_the_prompt(
    choices: Sequence[Choice], top: int, spell: Callable[[int], str]
) -> PromptLogprobs:
    """What the model made of each of a prompt's tokens: its own one first, then the `top` most
    probable, in their order."""
    places: PromptLogprobs = []
    for choice in choices:
        if choice.logprob is None:
            places.append(None)
            continue
        ranked = {token: (value, at) for at, (token, value) in enumerate(choice.top[:top], 1)}
        known = {choice.token: (choice.logprob, choice.rank)} | ranked
        places.append(
            {
                token: PromptLogprob(logprob=max(value, LEAST), rank=at, decoded_token=spell(token))
                for token, (value, at) in known.items()
            }
        )
    return places
