"""Steps that a device has recorded, and does again at one call. Knows no model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..adapters.devices.device import Recorder, Replay
from .host_step import HostStep
from .sequence import Sequence

COLUMNS = 5  # numbers of each row
MORE = 3  # of one whose token only the device knows, and whose logits are due


@dataclass(frozen=True, slots=True)
class Chosen:
    """Tokens on the device, [rows], and the row of each sequence among them."""

    tokens: Tensor
    rows: Mapping[Sequence, int]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A step's tokens on the device: [tokens], `lengths` [slots]; see `HostStep`."""

    ids: Tensor
    positions: Tensor
    places: Tensor
    slots: Tensor
    lengths: Tensor


Work = Callable[[Numbers], Tensor]  # logits [rows, vocabulary]


class Replays:
    """Owned by the engine's thread. One recording for each number of rows and length of attention.

    All read their numbers from one buffer on the device, which a step's transfer fills, and leave
    their logits in another, from which the step takes copies: the next step may be on its way while
    somebody still looks at those of the last one.
    """

    def __init__(self, recorder: Recorder, rows: int, device: torch.device) -> None:
        """`rows` is the most that a step has."""
        self._recorder, self._rows = recorder, rows
        self._numbers = torch.zeros((COLUMNS + MORE) * rows, dtype=torch.long, device=device)
        self._logits: Tensor | None = None
        self._replays: dict[tuple[int, int], Replay] = {}

    def __len__(self) -> int:
        return len(self._replays)

    def record(self, rows: int, longest: int, work: Work, like: Tensor) -> None:
        """Note `work` for steps of so many rows over this length; its logits are `like` these.

        It has run before, and so has prepared what is prepared once. Raises as `Recorder` does.
        """
        if self._logits is None:
            self._logits = like.new_empty(self._rows, like.shape[1])
        numbers = Numbers(*torch.split(self._numbers[: COLUMNS * rows], rows))
        given = self._logits[:rows]

        def whole() -> None:
            given.copy_(work(numbers))

        self._replays[rows, longest] = self._recorder.record(whole)

    def has(self, host: HostStep) -> bool:
        """Whether the step was recorded: nobody in it reads a prompt, tries a draft, or has an
        adapter that adds to layers."""
        only_decodes = host.dense and not host.parts and not host.tuned
        return only_decodes and (host.rows, host.longest) in self._replays

    def run(self, host: HostStep, last: Chosen | None) -> Tensor:
        """[due, vocabulary]: the logits of those rows that are due, the caller's to keep."""
        assert self._logits is not None, "a step that was recorded left its logits"
        columns = (host.ids, host.positions, host.places, host.slots, host.lengths)
        parts = (*columns, [*host.fed], [*host.fed.values()], host.due)
        flat = torch.tensor([n for part in parts for n in part], dtype=torch.long)
        there = self._numbers[: len(flat)]
        there.copy_(flat, non_blocking=True)
        ids, *_, where, which, due = torch.split(there, [len(part) for part in parts])
        if last is not None and host.fed:
            ids.index_copy_(0, where, last.tokens.index_select(0, which))
        self._replays[host.rows, host.longest]()
        return self._logits.index_select(0, due)
