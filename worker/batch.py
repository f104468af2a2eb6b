"""The wishes of one step's sequences as tensors, made once for as long as they stay together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .chance import chances
from .cuts import Limits, head_size
from .drawing import padded_width
from .job import Sampling
from .penalties import Memory, Penalties, penalised
from .workspace import Workspace

GREEDY_TOP_P = 1e-8  # leaves one token, as in FastChat

HIGHEST = 0  # a row's way to its token: the most probable one,
ALL = -1  # or by chance from the whole vocabulary; a larger number is the head that is cut


@dataclass(eq=False, slots=True)
class Row:
    """One sequence in its slot. `produced` tokens were chosen for it; the `banned` ones may not
    come before `min_tokens`. `prompt` is the number of the prompt's ids that are remembered."""

    slot: int
    sampling: Sampling
    seed: int
    prompt: int = 0
    banned: tuple[int, ...] = ()
    min_tokens: int = 0
    logprobs: int | None = None
    produced: int = 0

    @property
    def held(self) -> bool:
        return bool(self.banned) and self.produced < self.min_tokens

    @property
    def plain(self) -> bool:
        """Its next token depends on logits and chance alone, and is all that is asked for."""
        return self.logprobs is None and not self.held and not penalised(self.sampling)

    def way(self, vocabulary: int) -> int:
        how = self.sampling
        if how.greedy or how.top_p < GREEDY_TOP_P:
            return HIGHEST
        top_k = _top_k(how, vocabulary)
        if not top_k and how.top_p == 1.0:
            return ALL
        return head_size(top_k, padded_width(vocabulary))


@dataclass(frozen=True, slots=True)
class Some:
    """Some of a batch's rows: where they are, and the same as a tensor, None for all of them."""

    where: tuple[int, ...]
    index: Tensor | None

    def of(self, tensor: Tensor) -> Tensor:
        return tensor if self.index is None else tensor.index_select(0, self.index)

    def of_wide(self, scores: Tensor, space: Workspace) -> Tensor:
        """The same, with a buffer of `space`."""
        if self.index is None:
            return scores
        return torch.index_select(scores, 0, self.index, out=space.take(len(self.where)))

    def put(self, values: Tensor, into: Tensor) -> Tensor:
        """All values, these among them; `into` may be changed."""
        return values if self.index is None else into.index_copy_(0, self.index, values)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that get their tokens in one way."""

    way: int
    some: Some
    rows: tuple[Row, ...]
    limits: Limits

    def chances(self, ahead: Sequence[int], device: torch.device) -> Tensor:
        """Two numbers for each of its rows, [rows, 2]; `ahead` is the whole batch's."""
        places = zip(self.some.where, self.rows, strict=True)
        numbers = [chances(row.seed, row.produced + ahead[at]) for at, row in places]
        return _numbers(numbers, device)


@dataclass(frozen=True, slots=True)
class Edits:
    """What is added to scores and ruled out of them; ids count through rows of whole blocks."""

    biased: Tensor | None
    bias: Tensor | None
    banned: Tensor | None

    def apply(self, scores: Tensor) -> None:
        flat = scores.view(-1)
        if self.biased is not None and self.bias is not None:
            flat.index_add_(0, self.biased, self.bias)
        if self.banned is not None:
            flat.index_fill_(0, self.banned, -torch.inf)


@dataclass(frozen=True, slots=True)
class Penalised:
    """Rows with penalties."""

    some: Some
    rows: tuple[Row, ...]
    slots: Tensor
    penalties: Penalties

    def apply(self, scores: Tensor, prompts: Memory, answers: Memory, space: Workspace) -> None:
        mine = self.some.of_wide(scores, space)
        said = answers.of(self.slots, max(row.produced for row in self.rows))
        read = prompts.of(self.slots, max(row.prompt for row in self.rows))
        self.penalties.apply(mine, read, said)
        if mine is not scores:
            self.some.put(mine, into=scores)
            space.give(mine)

    def remember(self, tokens: Tensor, answers: Memory) -> None:
        longest = max(row.produced for row in self.rows)
        answers.append(self.slots, self.some.of(tokens), longest)


@dataclass(frozen=True, slots=True)
class Batch:
    """Owned by the sampler. `held` says which rows have their banned tokens ruled out."""

    rows: tuple[Row, ...]
    held: tuple[bool, ...]
    groups: tuple[Group, ...]
    temperatures: Tensor | None  # [rows, 1]; None if they change nothing
    penalised: Penalised | None
    edits: Edits | None
    quoted: Some | None  # rows that want log-probabilities,
    alternatives: int  # and the largest number of alternatives
    space: Workspace

    @property
    def greedy(self) -> bool:
        return all(group.way == HIGHEST for group in self.groups)

    @property
    def edited(self) -> bool:
        return self.penalised is not None or self.edits is not None

    def is_of(self, rows: Sequence[Row]) -> bool:
        return (
            len(rows) == len(self.rows)
            and all(mine is row for mine, row in zip(self.rows, rows, strict=True))
            and all(held == row.held for held, row in zip(self.held, rows, strict=True))
        )


def batch_of(rows: Sequence[Row], vocabulary: int, device: torch.device) -> Batch:
    ways = [row.way(vocabulary) for row in rows]
    return Batch(
        rows=tuple(rows),
        held=tuple(row.held for row in rows),
        groups=tuple(_group(rows, ways, way, vocabulary, device) for way in sorted(set(ways))),
        temperatures=_temperatures(rows, ways, device),
        penalised=_penalised(rows, device),
        edits=_edits(rows, padded_width(vocabulary), device),
        quoted=_some(rows, lambda row: row.logprobs is not None, device),
        alternatives=min(max(row.logprobs or 0 for row in rows), vocabulary),
        space=Workspace(padded_width(vocabulary), device),
    )


def _some(rows: Sequence[Row], wanted: Callable[[Row], bool], device: torch.device) -> Some | None:
    where = tuple(at for at, row in enumerate(rows) if wanted(row))
    if not where:
        return None
    return Some(where, None if len(where) == len(rows) else _indices(where, device))


def _group(
    rows: Sequence[Row], ways: Sequence[int], way: int, vocabulary: int, device: torch.device
) -> Group:
    where = tuple(at for at, its in enumerate(ways) if its == way)
    some = Some(where, None if len(where) == len(rows) else _indices(where, device))
    mine = tuple(rows[at] for at in where)
    return Group(way, some, mine, _limits([row.sampling for row in mine], vocabulary, device))


def _limits(hows: Sequence[Sampling], vocabulary: int, device: torch.device) -> Limits:
    top_ks = [_top_k(how, vocabulary) for how in hows]
    return Limits(
        top_k=_indices(top_ks, device).unsqueeze(1),
        rest=_numbers([1 - how.top_p if how.top_p < 1 else -1.0 for how in hows], device, 1),
        min_p=_numbers([how.min_p for how in hows], device, 1),
        nuclear=any(how.top_p < 1 and not k for how, k in zip(hows, top_ks, strict=True)),
        least=any(how.min_p > 0 for how in hows),
    )


def _top_k(how: Sampling, vocabulary: int) -> int:
    """0 also where it leaves every token."""
    return how.top_k if how.top_k < vocabulary else 0


def _temperatures(rows: Sequence[Row], ways: Sequence[int], device: torch.device) -> Tensor | None:
    pairs = zip(rows, ways, strict=True)
    values = [1.0 if way == HIGHEST else row.sampling.temperature for row, way in pairs]
    return None if set(values) == {1.0} else _numbers(values, device, 1)


def _penalised(rows: Sequence[Row], device: torch.device) -> Penalised | None:
    some = _some(rows, lambda row: penalised(row.sampling), device)
    if some is None:
        return None
    mine = tuple(rows[at] for at in some.where)
    slots = _indices([row.slot for row in mine], device)
    return Penalised(some, mine, slots, Penalties([row.sampling for row in mine], device))


def _edits(rows: Sequence[Row], width: int, device: torch.device) -> Edits | None:
    biases = [
        (at * width + token, value)
        for at, row in enumerate(rows)
        for token, value in row.sampling.logit_bias
    ]
    banned = [at * width + token for at, row in enumerate(rows) if row.held for token in row.banned]
    if not biases and not banned:
        return None
    return Edits(
        biased=_indices([token for token, _ in biases], device) if biases else None,
        bias=_numbers([value for _, value in biases], device) if biases else None,
        banned=_indices(banned, device) if banned else None,
    )


def _indices(values: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.long).to(device, non_blocking=True)


def _numbers(values: Sequence[Any], device: torch.device, columns: int = 0) -> Tensor:
    tensor = torch.tensor(values, dtype=torch.float32).to(device, non_blocking=True)
    return tensor.unsqueeze(1) if columns else tensor
