"""Runs one job from its prompt to its end, token by token, on the thread that calls it.

Knows no pool, no queue and no HTTP.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..adapters.errors import ServeError
from .answer import Answer
from .draw import Choice, Draw
from .forward import Forward
from .grammar import Grammar
from .job import Job, Piece
from .logprobs import scored
from .sampler import Sampler
from .vocabulary import Vocabulary

SLOT = 0  # of a batch of one


class Reader(Protocol):
    """Where pieces go."""

    def put(self, piece: Piece) -> None: ...


class Generation:
    """One job on one model. `wanted` is asked before every step: False ends it without a word.

    `grammar` is the place before the answer's first token, where the job has one to follow.
    """

    def __init__(
        self,
        job: Job,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        *,
        grammar: Grammar | None = None,
        wanted: Callable[[], bool] = lambda: True,
        interval: int = 1,
    ) -> None:
        self._job = job
        self._grammar = grammar
        self._wanted = wanted
        self._forward = Forward(model, torch.tensor(job.prompt_ids, device=model.device))
        self._answer = Answer(job, vocabulary, interval)

    def run(self, box: Reader) -> None:
        """Put every piece into `box`; returns after the last one, or as soon as none is wanted."""
        with torch.inference_mode():
            self._run(box)

    def _run(self, box: Reader) -> None:
        # 1. read the prompt
        logits = self._read_prompt()
        if logits is None:
            return
        sampler = self._sampler(logits)
        while True:
            # 2. choose
            choice = self._choose(sampler, logits)
            # 3. spell
            finish = self._answer.add(
                choice, ended=self._grammar is not None and self._grammar.finished
            )
            # 4. publish
            if (piece := self._answer.piece(finish)) is not None:
                box.put(piece)
            if finish is not None or not self._wanted():
                return
            # 5. step
            logits = self._forward.step(choice.token)

    def _read_prompt(self) -> Tensor | None:
        """The logits after the prompt; None if nobody wants them any more.

        Some ask what the model made of the prompt's own tokens.
        """
        ids, top = self._job.prompt_ids, self._job.scored
        asked = top is not None
        chunks = self._forward.score() if asked else self._forward.prefill()
        choices, last = [Choice(ids[0])], None
        while self._wanted():
            rows = next(chunks, None)
            if rows is None:
                if asked:
                    self._answer.quote(choices)
                return last
            if asked:
                following = ids[len(choices) : len(choices) + len(rows)]
                choices += scored(rows, following, top or 0)
            last = rows[-1]
        return None

    def _choose(self, sampler: Sampler, logits: Tensor) -> Choice:
        """The next token, one that the grammar allows."""
        rows, grammar = logits.unsqueeze(0), self._grammar
        if grammar is None:
            return _only(sampler.choose(rows, [SLOT]))
        choice = _only(sampler.choose(rows, [SLOT], {SLOT: grammar.mask().to(rows.device)}))
        grammar.accept(choice.token)
        return choice

    def _sampler(self, logits: Tensor) -> Sampler:
        job, size = self._job, logits.shape[-1]
        sampler = Sampler(1, size, logits.device)
        sampler.join(
            SLOT,
            job.sampling,
            job.prompt_ids,
            banned=sorted(job.stop_ids),
            min_tokens=job.min_tokens,
            logprobs=job.logprobs,
        )
        return sampler


def _only(draw: Draw) -> Choice:
    (choice,) = draw.read()
    if isinstance(choice, ServeError):
        raise choice
    return choice
