"""How much memory a training took at the most."""

import resource
import sys

import torch

UNIT = 1 if sys.platform == "darwin" else 2**10  # of ru_maxrss


def most_memory(device: torch.device) -> int:
    """Bytes: of the card, or of this process on a host."""
    if device.type == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    return int(torch.get_device_module(device).max_memory_allocated(device))
