"""Small tensors on their way from the device to the host, all in one transfer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

IDS = 2**24  # float32 holds the whole numbers below exactly


class Parcel:
    """Leaves at once, behind the work that is queued; so what is queued later does not delay it.

    Everything travels as float32, ids below `IDS` among it.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._sizes = [part.numel() for part in parts]
        whole = torch.cat([part.reshape(-1).float() for part in parts])
        self._host = whole.to("cpu", non_blocking=True)
        self._arrival: Any = None
        if whole.device.type != "cpu":
            self._arrival = torch.get_device_module(whole.device).Event()
            self._arrival.record()

    def open(self) -> list[list[float]]:
        """The parts, flat. Waits until they are there."""
        if self._arrival is not None:
            self._arrival.synchronize()
        numbers: list[float] = self._host.tolist()
        ends = [sum(self._sizes[: i + 1]) for i in range(len(self._sizes))]
        return [numbers[end - size : end] for end, size in zip(ends, self._sizes, strict=True)]
