"""Turns one sequence's tokens into the pieces that its reader gets. Knows no model, no tensors."""

from collections.abc import Sequence

from ..adapters.models.chatglm.response import Ending, Untouched, Wording
from ..adapters.wire.generation import PromptLogprobs, Usage
from .detokenizer import Detokenizer
from .draw import Choice
from .job import FinishReason, Job, Piece
from .logprobs import Ledger, of_the_prompt
from .stops import Stops
from .vocabulary import Vocabulary


class Answer:
    """Owned by the thread that runs the sequence. `interval` is the number of tokens a piece.

    A token's `text_offset` is the length of the text before it, the echo included; its
    log-probability is published with the piece that has its text.
    """

    def __init__(self, job: Job, vocabulary: Vocabulary, interval: int = 1) -> None:
        self._job = job
        self._vocabulary = vocabulary
        self._interval = interval
        self._detokenizer = Detokenizer(
            vocabulary.decode, vocabulary.special, job.prompt_ids if job.continues else ()
        )
        self._wording = Wording(begun=job.continues) if job.finished else Untouched()
        self._stops = Stops(job.stop)
        self._ending = Ending() if job.finished else Untouched()
        self._ledger = Ledger(vocabulary.spell)
        self._of_prompt: PromptLogprobs | None = None  # in no piece yet
        self._pending = job.echo  # certain, and in no piece yet
        self._certain = len(job.echo)  # characters that are in pieces or pending
        self._spelled = len(job.echo)  # characters so far, those that stops hold back included
        self._produced = 0

    def quote(self, choices: Sequence[Choice]) -> None:
        """What the model made of the prompt's tokens, before any other; what was told is forgotten
        if it is told again."""
        wanted = self._job.prompt_logprobs
        if wanted is not None:
            self._of_prompt = of_the_prompt(choices, wanted, self._vocabulary.spell)
        if self._job.quoted:
            self._echo(choices)

    def _echo(self, choices: Sequence[Choice]) -> None:
        reader = Detokenizer(self._vocabulary.decode, self._vocabulary.special)
        self._ledger, offset = Ledger(self._vocabulary.spell), 0
        for choice in choices:
            self._ledger.add(choice, min(offset, len(self._job.echo)), self._job.logprobs)
            offset += len(reader.feed(choice.token))

    def add(self, choice: Choice, *, ended: bool = False) -> FinishReason | None:
        """One more token; why the sequence has ended, if it has. `ended` says that it has."""
        self._produced += 1
        if choice.token in self._job.stop_ids:
            self._flush()
            return "stop"
        if self._job.logprobs is not None:
            self._ledger.add(choice, self._spelled + self._wording.held)
        self._spell(self._detokenizer.feed(choice.token))
        if not self._stops.hit and (ended or self._produced == self._job.max_new_tokens):
            self._flush()
            return "stop" if ended or self._stops.hit else "length"
        return "stop" if self._stops.hit else None

    def piece(self, finish: FinishReason | None) -> Piece | None:
        """What is certain since the last piece; None while it is not yet time for one."""
        if finish is None and (not self._pending or (self._produced - 1) % self._interval):
            return None
        text, self._pending = self._pending, ""
        end = None if finish and not self._stops.hit else self._certain
        logprobs = self._ledger.take(end) if self._job.logprobs is not None else None
        of_prompt, self._of_prompt = self._of_prompt, None
        return Piece(text, self._usage(), logprobs, finish, of_prompt)

    def _spell(self, text: str) -> None:
        self._judge(self._wording.feed(text))

    def _judge(self, text: str) -> None:
        self._spelled += len(text)
        if self._produced > self._job.min_tokens:  # until then nothing ends the answer
            text = self._stops.feed(text)
        self._let_out(self._ending.feed(text))

    def _flush(self) -> None:
        """Whatever was held back: it has become no stop string and no whole character."""
        self._spell(self._detokenizer.flush())
        self._judge(self._wording.flush())
        self._let_out(self._ending.feed(self._stops.flush()) + self._ending.flush())

    def _let_out(self, text: str) -> None:
        self._pending += text
        self._certain += len(text)

    def _usage(self) -> Usage:
        prompt = len(self._job.prompt_ids)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=self._produced,
            total_tokens=prompt + self._produced,
        )
