"""Which card `auto` means where its number is given. Pure: what is here is an argument."""

from collections.abc import Callable, Sequence

from ..adapters.errors import StartError


def numbered(device: str, here: Callable[[], Sequence[str]]) -> str:
    """`auto:1` is card 1 of the kind of cards that comes first in `here`, all devices of this
    machine; any other name stays as it is. Raises StartError where there is no card at all."""
    kind, colon, card = device.partition(":")
    if kind != "auto" or not colon:
        return device
    kinds = [name.partition(":")[0] for name in here() if ":" in name]
    if not kinds:
        raise StartError(
            f"--gpus {card} asks for a card, and this machine has none that can be used: leave it "
            "out, or ask danlu doctor why"
        )
    return f"{kinds[0]}:{card}"
