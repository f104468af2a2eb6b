"""One job with all that belongs to it, from its arrival to its last piece. Knows no step."""

from dataclasses import dataclass, field

from torch import Tensor

from ..adapters.errors import ServeError
from .answer import Answer
from .drafting import Drafter, may_draft
from .draw import Choice
from .failures import bare
from .grammar import Grammar
from .job import FinishReason, Job
from .logprobs import scored
from .outbox import Box
from .scheduler import Chunk
from .sequence import Sequence


@dataclass(eq=False, slots=True)
class Request:
    """Owned by the engine's thread.

    `seat` is its place in the sampler, once its prompt is read. `trouble` is why its answer cannot
    go on, whatever is chosen for it. `quoted` are the prompt's own tokens, where it is asked what
    the model made of them. `draft` are tokens that may come after those that are known, by its
    `drafter`.
    """

    job: Job
    box: Box
    sequence: Sequence
    answer: Answer
    grammar: Grammar | None = None
    seat: int | None = None
    trouble: ServeError | None = None
    quoted: list[Choice] = field(default_factory=list)
    drafter: Drafter | None = None
    draft: list[int] = field(default_factory=list)

    @property
    def produced(self) -> int:
        """Tokens of the answer; the first one has shown that what was computed are numbers."""
        return len(self.sequence.tokens) - len(self.sequence.prompt)

    def mask(self) -> Tensor | None:
        """What its grammar allows; one that cannot be followed troubles nobody else."""
        try:
            return None if self.grammar is None else self.grammar.mask()
        except ServeError as exc:
            self.trouble = bare(exc)
            return None

    def score(self, chunk: Chunk, logits: Tensor) -> None:
        """What the model made of a part of its prompt: `logits` [its tokens, vocabulary]."""
        following = self.job.prompt_ids[chunk.start + 1 : chunk.end + 1]
        try:
            found = scored(logits, following, self.job.scored or 0)
        except ServeError as exc:
            self.trouble = bare(exc)
            return
        self.quoted[chunk.start + 1 :] = found  # a step may be run a second time
        if chunk.last:
            self.answer.quote(self.quoted)

    def publish(self, choice: Choice) -> FinishReason | None:
        """One token more, and a piece where it is time for one; why the answer is over, if it is.
        Raises what spelling it or following its grammar raises."""
        self.sequence.tokens.append(choice.token)
        finish = self.answer.add(choice, ended=self._ended(choice))
        piece = self.answer.piece(finish)
        if piece is not None:
            self.box.put(piece)
        return finish

    def redraft(self, price: float) -> None:
        """Think of what may come next, where a guess is worth its price. Then the last token must
        be known before the next step."""
        if self.drafter is None:
            return
        room = self.sequence.most - len(self.sequence.tokens) - 1
        may = may_draft(self.job, self.produced)
        self.draft = self.drafter.draft(room, price) if may else []
        self.sequence.awaited = bool(self.draft)

    def _ended(self, choice: Choice) -> bool:
        """Whether nothing can follow the token where the answer follows a grammar."""
        if self.grammar is None:
            return False
        self.grammar.accept(choice.token)
        return self.grammar.finished
