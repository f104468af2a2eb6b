"""How much of the device's memory is set aside for adapters. Pure arithmetic."""

from ..adapters.errors import StartError
from .kv_room import GIB

SHARE = 0.05  # of what is free, for adapters that come while the worker serves


def adapter_room(free: int, taken: int, gib: float | None, *, more: bool) -> int:
    """Bytes for all adapters, of `free` ones: `gib` GiB where they are given; else what those that
    are there from the start have `taken`, and a share of the rest if `more` may come.

    Raises StartError where those that are given do not suffice, or are not there.
    """
    if gib is None:
        return taken + int(max(free - taken, 0) * SHARE) if more else taken
    room = int(gib * GIB)
    if taken > room:
        raise StartError(
            f"--adapter-memory {gib:g} is too little: those of --adapters take "
            f"{taken / GIB:.3f} GiB; give more, or leave it out"
        )
    if room > free:
        raise StartError(
            f"--adapter-memory {gib:g} is too much: {free / GIB:.1f} GiB are free beside the "
            "model; give less, or leave it out"
        )
    return room
