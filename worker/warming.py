"""Runs every shape of step once before anybody waits for one: a card's first time takes long."""

from collections.abc import Iterator

from .loading import Progress
from .runner import Runner
from .scheduler import Chunk, Draft, Plan
from .sequence import Sequence
from .shapes import Shapes
from .weights import READING


def warm_up(runner: Runner, shapes: Shapes, progress: Progress, lookahead: int = 0) -> None:
    """Afterwards the cache is as it was. With `lookahead`, drafts of so many tokens will come."""
    plans = list(trials(shapes, lookahead))
    for number, plan in enumerate(plans):
        done = number / len(plans)
        progress.set(READING + (1 - READING) * done, f"warming up {number + 1}/{len(plans)}")
        runner.run(plan)
    runner.clear()


def trials(shapes: Shapes, lookahead: int = 0) -> Iterator[Plan]:
    """Steps of every shape there is; where shapes are not fixed, nothing is prepared for one, and a
    single step brings weights and threads up."""
    if not shapes.fixed:
        part = min(shapes.all_parts())
        yield Plan((), _decoding(1, part), (_reading(part, part),))
        return
    lengths = list(shapes.all_lengths())
    for rows in shapes.all_rows():
        for length in lengths:
            yield Plan((), _decoding(rows, length), ())
        for part in shapes.all_parts():
            yield Plan((), _decoding(rows, lengths[0]), (_reading(part, part),))
    for part in shapes.all_parts():
        for length in lengths:
            yield Plan((), (), (_reading(part, max(part, length)),))
    if lookahead:  # attention is that of a part of a prompt, and known; rows of logits are more
        for rows in (0, *shapes.all_rows()):
            yield Plan((), _decoding(rows, lengths[0]), (), (_drafting(lookahead),))


def _decoding(rows: int, length: int) -> tuple[Sequence, ...]:
    """Sequences in the first slots, each with one token to go to `length`."""
    return tuple(_seated(Sequence([0] * length), slot, length - 1) for slot in range(rows))


def _reading(part: int, end: int) -> Chunk:
    """The last part of a prompt of `end` tokens."""
    return Chunk(_seated(Sequence([0] * end), 0, end - part), end - part, end)


def _drafting(tokens: int) -> Draft:
    return Draft(_seated(Sequence([0]), 0, 0), (0,) * tokens)


def _seated(sequence: Sequence, slot: int, computed: int) -> Sequence:
    sequence.slot, sequence.computed = slot, computed
    return sequence
