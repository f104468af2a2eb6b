"""An adapter as those know it who hold no weights: a name, and its place in the KV cache. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What a sequence is generated with. One that is loaded anew is another one.

    `entries` of its own lie in a slot before those of the tokens, and the first token is at
    position `first`.
    """

    name: str
    entries: int = 0
    first: int = 0


BASE = Adapter("")  # the model as it is
