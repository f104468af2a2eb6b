"""Keeps buffers a vocabulary wide for the next step: on a host, fresh memory costs more than what
is computed in it."""

import torch
from torch import Tensor


class Workspace:
    """Owned by the sampler, for as long as the same sequences are together."""

    def __init__(self, width: int, device: torch.device) -> None:
        self._width = width
        self._device = device
        self._spare: dict[int, list[Tensor]] = {}

    def take(self, rows: int) -> Tensor:
        """A float32 buffer [rows, width] with anything in it."""
        spare = self._spare.get(rows)
        return spare.pop() if spare else torch.empty((rows, self._width), device=self._device)

    def give(self, buffer: Tensor) -> None:
        """Take back a buffer that nobody reads any more, apart from work that is queued already."""
        self._spare.setdefault(len(buffer), []).append(buffer)
