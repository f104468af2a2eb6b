"""How many slots of what length the device's memory has room for. Pure arithmetic."""

from dataclasses import dataclass

from ..adapters.errors import StartError

FEWEST = 4  # requests at a time; before there are fewer, each gets a shorter context
SHORTEST = 256  # tokens of a context that is still of use
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Room:
    """`slots` of `length` tokens each, in which `concurrency` requests run at a time."""

    slots: int
    length: int
    concurrency: int


def room(memory: int, token_bytes: int, length: int, concurrency: int) -> Room:
    """The room in `memory` bytes; what is left beside the running requests keeps prefixes.

    One row more than there are slots is allocated. Raises StartError if nothing useful fits.
    """
    tokens = memory // token_bytes
    rows = tokens // length
    if rows - 1 < min(FEWEST, concurrency):
        fewest, shortest = min(FEWEST, concurrency), min(SHORTEST, length)
        length = min(length, tokens // (fewest + 1))
        rows = fewest + 1
        if length < shortest:
            raise StartError(
                f"{memory / GIB:.1f} GiB are free for the memory of answers, and {fewest} of them "
                f"with {shortest} tokens each need {token_bytes * shortest * rows / GIB:.1f}; "
                "take a smaller model, or a smaller --dtype"
            )
    slots = min(rows - 1, 2 * concurrency)
    return Room(slots, length, min(concurrency, slots))
