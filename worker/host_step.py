"""A plan as numbers: what goes into the model, token by token. Pure: no tensors.

Tokens are in the order in which they go through the model: first one for each slot that decodes,
then drafts, then the parts of prompts. Where shapes are fixed, tokens of nobody fill them up: they
are computed like all others, and written to a row of the cache that belongs to nobody.
"""

from collections.abc import Mapping, Sequence as Ids
from dataclasses import dataclass, field

from .adapter import BASE, Adapter
from .scheduler import Chunk, Draft, Plan
from .sequence import Sequence
from .shapes import Shapes

NOBODY = 0  # the id of a token that stands for none


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens `first` to `first + count` of the step belong to one sequence, whose slot then holds
    `end` entries; that of the first of them is number `start`."""

    first: int
    count: int
    slot: int
    start: int
    end: int


@dataclass(slots=True)
class HostStep:
    """`ids`, `positions`, `slots` and the `places` in these have one number a token, `kept` names
    the tokens whose logits are wanted. `tuned` are the tokens of each adapter that adds to the
    model's layers, the first of them several times where shapes are fixed. `fed` are tokens that
    only the device knows: where in `ids` they belong, and which of the tokens that were chosen last
    they are.

    The first `rows` tokens decode: one for each of the `seats`, or, where these are `dense`, for
    the first slots in order. `lengths` are the entries that each slot up to the last of them sees,
    `longest` is the length of attention over them. `due` are the rows of the logits that next
    tokens are chosen from; `scored` are those of whole chunks, from row to row.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    tuned: dict[Adapter, list[int]] = field(default_factory=dict)
    fed: dict[int, int] = field(default_factory=dict)
    seats: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    rows: int = 0
    longest: int = 0
    dense: bool = True
    parts: list[Part] = field(default_factory=list)
    due: list[int] = field(default_factory=list)
    scored: list[tuple[Chunk, int, int]] = field(default_factory=list)


def host_step(
    plan: Plan, shapes: Shapes, spare: int, chosen: Mapping[Sequence, int] | None = None
) -> HostStep:
    """The numbers for `plan`; `spare` is nobody's row of the cache. `chosen` says which row of the
    choice that is still on the device is a sequence's."""
    step = HostStep()
    _decode(step, plan, shapes, spare, chosen or {})
    for draft in plan.drafts:
        _try(step, draft, shapes, spare)
    for chunk in plan.chunks:
        _read(step, chunk, shapes, spare)
    for tokens in step.tuned.values():
        tokens += tokens[:1] * (shapes.group_for(len(tokens)) - len(tokens))
    return step


def _decode(
    step: HostStep, plan: Plan, shapes: Shapes, spare: int, chosen: Mapping[Sequence, int]
) -> None:
    by_slot = {sequence.seat: sequence for sequence in plan.decode}
    span = shapes.rows_for(max(by_slot, default=-1) + 1)
    step.lengths = [_seen(by_slot[i]) if i in by_slot else 1 for i in range(span)]
    step.longest = shapes.length_for(max(step.lengths, default=0))
    step.seats = list(range(span)) if shapes.fixed else list(by_slot)
    step.dense = step.seats == list(range(span))
    step.rows = len(step.seats)
    for seat in step.seats:
        sequence = by_slot.get(seat)
        if sequence is None:
            _fill(step, spare)
        else:
            step.due.append(len(step.ids))
            known = sequence.computed < len(sequence.tokens)
            if not known:
                step.fed[len(step.ids)] = chosen[sequence]
            token = sequence.tokens[sequence.computed] if known else NOBODY
            _add(step, token, sequence.computed, sequence)
    step.kept = list(range(step.rows))


def _try(step: HostStep, draft: Draft, shapes: Shapes, spare: int) -> None:
    """All its logits are due; where shapes are fixed, those of what fills it up are made, too."""
    sequence, kept = draft.sequence, len(step.kept)
    tokens = (sequence.tokens[-1], *draft.tokens)
    own = _span(step, sequence, sequence.computed, tokens, shapes, spare)
    step.kept += range(own.start, len(step.ids)) if shapes.fixed else own
    step.due += range(kept, kept + len(own))


def _read(step: HostStep, chunk: Chunk, shapes: Shapes, spare: int) -> None:
    sequence = chunk.sequence
    tokens = sequence.tokens[chunk.start : chunk.end]
    own = _span(step, sequence, chunk.start, tokens, shapes, spare)
    if sequence.scored:
        step.scored.append((chunk, len(step.kept), len(step.kept) + len(own)))
        step.kept += own
    elif chunk.last:
        step.kept.append(own[-1])
    if chunk.last:
        step.due.append(len(step.kept) - 1)


def _span(
    step: HostStep, sequence: Sequence, place: int, tokens: Ids[int], shapes: Shapes, spare: int
) -> range:
    """Several tokens of one sequence, the first its number `place`; where they are in the step."""
    first, count = len(step.ids), len(tokens)
    for number, token in enumerate(tokens):
        _add(step, token, place + number, sequence)
    for _ in range(shapes.part_for(count) - count):
        _fill(step, spare)
    start, end = (sequence.adapter.entries + place + more for more in (0, count))
    length = shapes.length_for(end) if shapes.fixed else end
    step.parts.append(Part(first, len(step.ids) - first, sequence.seat, start, length))
    return range(first, first + count)


def _seen(sequence: Sequence) -> int:
    """Entries that its next token sees, its own among them."""
    return sequence.adapter.entries + sequence.computed + 1


def _add(step: HostStep, token: int, number: int, sequence: Sequence) -> None:
    """The next token of the step is a sequence's token of this number."""
    adapter = sequence.adapter
    if adapter is not BASE and not adapter.entries:  # what has entries adds to no layer
        step.tuned.setdefault(adapter, []).append(len(step.ids))
    step.ids.append(token)
    step.positions.append(adapter.first + number)
    step.places.append(adapter.entries + number)
    step.slots.append(sequence.seat)


def _fill(step: HostStep, spare: int) -> None:
    """The next token of the step is nobody's."""
    step.ids.append(NOBODY)
    step.positions.append(0)
    step.places.append(0)
    step.slots.append(spare)
