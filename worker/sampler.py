"""Chooses one sequence's next token from the model's logits. Knows no model and no text."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ..adapters.errors import ServeError
from .job import Sampling

GREEDY_TOP_P = 1e-8  # leaves one token, as in FastChat
SEEDS = 2**63  # every device's generator takes seeds below


@dataclass(frozen=True, slots=True)
class Choice:
    """A token; with its log-probability and the most probable ones' where they were asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Owned by the thread that runs the sequence.

    Its random numbers are its own: the same seed gives the same tokens whatever else runs. The
    order is transformers': penalties, bias, banned end tokens, then temperature and the cuts.
    `prompt` counts for the repetition penalty, not for the other two, as at OpenAI. Log-probs are
    those of the model's own distribution, before any of it.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Tensor,
        vocabulary: int,
        *,
        banned: Sequence[int] = (),
        min_tokens: int = 0,
        logprobs: int | None = None,
    ) -> None:
        device = prompt.device
        self._greedy = sampling.greedy or sampling.top_p < GREEDY_TOP_P
        self._sampling = sampling
        self._ids: Any = prompt.view(1, -1)  # the processors want a LongTensor by name
        self._logprobs = logprobs
        self._penalty = (
            RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)
            if sampling.repetition_penalty != 1.0
            else None
        )
        self._counts = torch.zeros(vocabulary, device=device) if _counted(sampling) else None
        self._bias = _bias(sampling, vocabulary, device)
        self._banned = torch.tensor(banned, device=device, dtype=torch.long)
        self._min_tokens = min_tokens if banned else 0
        self._produced = 0
        self._cuts = _cuts(sampling)
        self._generator = torch.Generator(device)
        seed = secrets.randbelow(SEEDS) if sampling.seed is None else sampling.seed % SEEDS
        self._generator.manual_seed(seed)

    def choose(self, logits: Tensor) -> Choice:
        """The next token for the last position's logits; raises ServeError if they are no numbers.

        A single transfer from the device carries all that is wanted.
        """
        raw = logits.detach().view(1, -1).float()
        peak = raw.max()  # NaN if any is NaN, infinite if one is or all are
        scores = self._scores(raw)
        token = scores.argmax(-1) if self._greedy else self._draw(self._cuts(self._ids, scores))
        choice = self._read(raw, token, peak)
        self._remember(token)
        return choice

    def _scores(self, raw: Tensor) -> Tensor:
        scores = raw
        if self._penalty is not None:
            scores = self._penalty(self._ids, scores)
        if self._counts is not None:
            scores = scores - self._sampling.frequency_penalty * self._counts
            scores = scores - self._sampling.presence_penalty * (self._counts > 0)
        if self._bias is not None:
            scores = scores + self._bias
        if self._produced < self._min_tokens:
            scores = scores.index_fill(-1, self._banned, -torch.inf)
        return scores

    def _draw(self, scores: Tensor) -> Tensor:
        """A token with its probability, as the winner of a race of exponentials.

        The same distribution as torch.multinomial, which would stop the whole device at a NaN.
        """
        probabilities = scores.softmax(-1)
        times = torch.empty_like(probabilities).exponential_(generator=self._generator)
        smallest = torch.finfo(times.dtype).tiny  # a zero would let a token of no probability win
        return (probabilities / times.clamp_min(smallest)).argmax(-1)

    def _read(self, raw: Tensor, token: Tensor, peak: Tensor) -> Choice:
        """What the host must know of this step, in one transfer."""
        wanted = [token.double(), peak.view(1).double()]
        if self._logprobs is not None:
            logprobs = raw.log_softmax(-1)[0]
            values, ids = logprobs.topk(min(self._logprobs, logprobs.shape[-1]))
            wanted += [logprobs[token].double(), values.double(), ids.double()]
        first, top, *rest = torch.cat(wanted).tolist()
        if not abs(top) < float("inf"):  # NaN too
            raise ServeError(
                f"the model's output is not a number at token {self._produced + 1} "
                f"(its highest logit is {top}); try --dtype float32 or bfloat16"
            )
        if not rest:
            return Choice(int(first))
        half = (len(rest) - 1) // 2
        alternatives = zip(map(int, rest[1 + half :]), rest[1 : 1 + half], strict=True)
        return Choice(int(first), rest[0], tuple(alternatives))

    def _remember(self, token: Tensor) -> None:
        self._produced += 1
        if self._penalty is not None:
            self._ids = torch.cat([self._ids, token.view(1, 1)], dim=1)
        if self._counts is not None:
            self._counts.index_add_(0, token, torch.ones_like(token, dtype=self._counts.dtype))


def _counted(sampling: Sampling) -> bool:
    return sampling.presence_penalty != 0 or sampling.frequency_penalty != 0


def _bias(sampling: Sampling, vocabulary: int, device: torch.device) -> Tensor | None:
    if not sampling.logit_bias:
        return None
    bias = torch.zeros(vocabulary, device=device)
    for token, value in sampling.logit_bias:
        bias[token] = value
    return bias


def _cuts(sampling: Sampling) -> LogitsProcessorList:
    """Temperature and what cuts the distribution, in transformers' order; what is off is absent."""
    cuts = LogitsProcessorList()
    if sampling.greedy:
        return cuts
    if sampling.temperature != 1.0:
        cuts.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        cuts.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        cuts.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0.0:
        cuts.append(MinPLogitsWarper(sampling.min_p))
    return cuts
