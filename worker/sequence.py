"""One request's life as tokens, as far as scheduling must know it. Pure: no text, no tensors."""

from collections.abc import Sequence as Ids

import numpy as np
from numpy.typing import NDArray

from .adapter import BASE, Adapter

Tokens = NDArray[np.int32]


class Sequence:
    """Owned by the engine's thread, which appends what was chosen to `tokens`.

    `computed` counts the tokens whose keys and values lie in the sequence's slot. A prompt that is
    `scored` wants the logits of all its positions. Lower `priority` numbers are served first, and
    of equals the one that came first.
    """

    def __init__(
        self,
        prompt: Ids[int],
        *,
        number: int = 0,
        priority: int = 0,
        scored: bool = False,
        adapter: Adapter = BASE,
    ) -> None:
        assert len(prompt) > 0, "a model continues something"
        self.prompt: Tokens = np.asarray(prompt, dtype=np.int32)
        self.tokens = list(prompt)
        self.scored = scored
        self.adapter = adapter
        self.order = (priority, number)
        self.slot: int | None = None
        self.computed = 0

    @property
    def decoding(self) -> bool:
        """Whether its prompt is read: from now on one step gives one token."""
        return self.computed >= len(self.prompt)

    @property
    def seat(self) -> int:
        """The slot of one that has a slot."""
        assert self.slot is not None, "a sequence runs in a slot"
        return self.slot

    @property
    def read(self) -> Tokens:
        """As much of the prompt as its slot holds."""
        return self.prompt[: self.computed]

    @property
    def content(self) -> Tokens:
        """All that its slot holds."""
        return np.asarray(self.tokens[: self.computed], dtype=np.int32)
