"""One request's life as tokens, as far as scheduling must know it. Pure: no text, no tensors."""

import sys
from collections.abc import Sequence as Ids

import numpy as np
from numpy.typing import NDArray

from .adapter import BASE, Adapter

Tokens = NDArray[np.int32]


class Sequence:
    """Owned by the engine's thread, which appends what was chosen to `tokens`.

    `computed` counts the tokens whose keys and values lie in the sequence's slot. A device that
    works ahead has chosen `coming` tokens more, which are not known here yet; a sequence that is
    `awaited` must know its last token before the next one is asked for. It ends with `most` tokens
    at the latest. A prompt that is `scored` wants the logits of all its positions. Lower numbers of
    `priority` are served first, and of equals the one that came first.
    """

    def __init__(
        self,
        prompt: Ids[int],
        *,
        number: int = 0,
        priority: int = 0,
        most: int = sys.maxsize,
        scored: bool = False,
        awaited: bool = False,
        adapter: Adapter = BASE,
    ) -> None:
        assert len(prompt) > 0, "a model continues something"
        self.prompt: Tokens = np.asarray(prompt, dtype=np.int32)
        self.tokens = list(prompt)
        self.most, self.scored, self.awaited = most, scored, awaited
        self.coming = 0
        self.adapter = adapter
        self.order = (priority, number)
        self.slot: int | None = None
        self.computed = 0

    @property
    def decoding(self) -> bool:
        """Whether its prompt is read: from now on one step gives one token."""
        return self.computed >= len(self.prompt)

    @property
    def ready(self) -> bool:
        """Whether the next step may give it its next token."""
        if self.coming and self.awaited:
            return False
        return self.decoding and len(self.tokens) + self.coming < self.most

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
