"""A plan as numbers: what goes into the model, token by token. Pure: no tensors.

Tokens are in the order in which they go through the model: first one for each slot that decodes,
then the parts of prompts. Where shapes are fixed, tokens of nobody fill them up: they are computed
like all others, and written to a row of the cache that belongs to nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .scheduler import Chunk, Plan
from .sequence import Sequence
from .shapes import Shapes

NOBODY = 0  # the id of a token that stands for none


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens `first` to `first + count` of the step belong to one prompt, whose slot then holds
    `end` tokens; the first of them is its token number `start`."""

    first: int
    count: int
    slot: int
    start: int
    end: int


@dataclass(slots=True)
class HostStep:
    """`ids`, `positions` and `slots` have one entry a token, `kept` names the tokens whose logits
    are wanted. `fed` are tokens that only the device knows: where in `ids` they belong, and which
    of the tokens that were chosen last they are.

    The first `rows` tokens decode: one for each of the `seats`, or, where these are `dense`, for
    the first slots in order. `lengths` are the tokens that each slot up to the last of them sees,
    `longest` is the length of attention over them. `due` are the rows of the logits that next
    tokens are chosen from; `scored` are those of whole chunks, from row to row.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
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
    for chunk in plan.chunks:
        _read(step, chunk, shapes, spare)
    return step


def _decode(
    step: HostStep, plan: Plan, shapes: Shapes, spare: int, chosen: Mapping[Sequence, int]
) -> None:
    by_slot = {sequence.seat: sequence for sequence in plan.decode}
    span = shapes.rows_for(max(by_slot, default=-1) + 1)
    step.lengths = [by_slot[i].computed + 1 if i in by_slot else 1 for i in range(span)]
    step.longest = shapes.length_for(max(step.lengths, default=0))
    step.seats = list(range(span)) if shapes.fixed else list(by_slot)
    step.dense = step.seats == list(range(span))
    step.rows = len(step.seats)
    for seat in step.seats:
        sequence = by_slot.get(seat)
        if sequence is None:
            _add(step, NOBODY, 0, spare)
        else:
            step.due.append(len(step.ids))
            known = sequence.computed < len(sequence.tokens)
            if not known:
                step.fed[len(step.ids)] = chosen[sequence]
            token = sequence.tokens[sequence.computed] if known else NOBODY
            _add(step, token, sequence.computed, seat)
    step.kept = list(range(step.rows))


def _read(step: HostStep, chunk: Chunk, shapes: Shapes, spare: int) -> None:
    sequence, first = chunk.sequence, len(step.ids)
    for place in range(chunk.start, chunk.end):
        _add(step, sequence.tokens[place], place, sequence.seat)
    for _ in range(shapes.part_for(chunk.end - chunk.start) - (chunk.end - chunk.start)):
        _add(step, NOBODY, 0, spare)
    length = shapes.length_for(chunk.end) if shapes.fixed else chunk.end
    step.parts.append(Part(first, len(step.ids) - first, sequence.seat, chunk.start, length))
    own = range(first, first + chunk.end - chunk.start)
    if sequence.scored:
        step.scored.append((chunk, len(step.kept), len(step.kept) + len(own)))
        step.kept += own
    elif chunk.last:
        step.kept.append(own[-1])
    if chunk.last:
        step.due.append(len(step.kept) - 1)


def _add(step: HostStep, token: int, position: int, slot: int) -> None:
    step.ids.append(token)
    step.positions.append(position)
    step.slots.append(slot)
