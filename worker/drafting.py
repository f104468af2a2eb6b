"""Decides how many tokens of an answer are guessed, and which guesses were right. Pure.

A draft goes through the model in the step of the token before it: one pass reads the weights once
for all of them. What the model would have chosen without it is chosen with it, each token by its
own place's chance, so a draft changes how long an answer takes and not a token of it.
"""

from collections.abc import Sequence

from ..adapters.errors import ServeError
from .draw import Choice
from .job import Job
from .lookup import LONGEST, Lookup
from .penalties import penalised

AT_ONCE = 2048  # tokens of a prompt that are noted in one step: some milliseconds
NEWEST = 0.1  # the weight of the newest guess
FIRST_RATES = (0.2, 0.5, 0.7)  # right guesses after runs of 1, 2 and 3 tokens, before any was made


def may_draft(job: Job, produced: int) -> bool:
    """Whether the tokens after the `produced` ones depend on logits and chance alone.

    What a grammar allows, what penalties lower and what log-probabilities tell would have to be
    known for guesses, too; so would the end tokens that may not come yet.
    """
    held = bool(job.stop_ids) and produced < job.min_tokens
    plain = job.grammar is None and job.logprobs is None and not penalised(job.sampling)
    return plain and not held


def verified(draft: Sequence[int], choices: Sequence[Choice | ServeError]) -> list[Choice]:
    """What the model says: its choice after each token of the draft that is right, and after the
    last of them. `choices` has one more than the draft, each made as if all before it were right.

    An error ends it, and may come of the guess behind: a NaN is not masked away.
    """
    assert len(choices) == len(draft) + 1
    found: list[Choice] = []
    for number, choice in enumerate(choices):
        if isinstance(choice, ServeError):
            break
        found.append(choice)
        if number < len(draft) and choice.token != draft[number]:
            break
    return found


class Drafter:
    """Drafts one sequence's tokens. Owned by the thread that appends to them.

    Every token of the answer shows whether a guess would have been right, made or not: so it is
    known what guesses are worth, and trying costs nothing.
    """

    def __init__(self, tokens: Sequence[int], prompt: int, most: int) -> None:
        """The first `prompt` of `tokens` were given; `most` are guessed at a time."""
        self._tokens, self._most = tokens, most
        self._lookup = Lookup(tokens)
        self._learned = prompt
        self._rates = list(FIRST_RATES)
        self.tried = self.right = 0  # tokens that went through the model, and those that it chose

    def draft(self, room: int, price: float) -> list[int]:
        """At most `room` tokens. `price` is what a guess costs, in answers' tokens: one whose
        chance to be right is lower is not made."""
        if not self._lookup.ready(self._learned, AT_ONCE):
            return []
        self._learn()
        end = len(self._tokens)
        match = self._lookup.find(end)
        if match is None:
            return []
        chance, count = 1.0, 0
        for number in range(min(room, self._most)):
            chance *= self._rates[min(match.length + number, LONGEST) - 1]
            if chance < price:
                break
            count = number + 1
        return self._lookup.goes_on(match, end, count)

    def judge(self, draft: Sequence[int], choices: Sequence[Choice | ServeError]) -> list[Choice]:
        """What the model says, see `verified`; it is counted."""
        found = verified(draft, choices)
        self.tried += len(draft)
        self.right += max(len(found) - 1, 0)
        return found

    def give_up(self) -> None:
        """No guess from now on."""
        self._most = 0

    def _learn(self) -> None:
        """What guesses would have been right since the last time."""
        for end in range(self._learned, len(self._tokens)):
            match = self._lookup.find(end)
            if match is not None:
                right = self._tokens[match.place] == self._tokens[end]
                old = self._rates[match.length - 1]
                self._rates[match.length - 1] = (1 - NEWEST) * old + NEWEST * right
        self._learned = len(self._tokens)
