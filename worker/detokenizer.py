"""Turns token ids into text as they come, letting out only what can no longer change.

Knows ids and a tokenizer's `decode`, no model and no stop strings. What is let out is never taken
back, and adds up to what decoding all ids at once gives.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

HALF = "\ufffd"  # what bytes decode to that are no character, or not yet one
# No character takes more tokens than it has bytes; what still looks half after so many is not text.
MOST_HELD = 16
CONTEXT = 5  # tokens of the prompt that the first word's spelling may depend on
LONGEST_CONTEXT = 32  # where those begin within a character
BYTES = 4  # of a character at most


class Decodes(Protocol):
    """The one thing asked of a tokenizer here; special tokens decode to nothing."""

    def __call__(self, ids: Sequence[int], /) -> str: ...


class Detokenizer:
    """One sequence's text. Owned by the thread that runs the sequence.

    Decoding is not additive: a token's text depends on its neighbours (SentencePiece's leading
    space, characters of several tokens). So a window is decoded with and without the newest
    tokens, and the difference is new. The window starts at tokens whose text is out already and
    that have text, so it is short, and a step costs the same however long the answer is.

    `before` is the prompt whose text the answer continues; empty for an answer that stands alone.
    """

    def __init__(
        self, decode: Decodes, special: Collection[int], before: Sequence[int] = ()
    ) -> None:
        self._decode = decode
        self._special = special
        self._window = self._context([i for i in before[-LONGEST_CONTEXT:] if i not in special])
        self._read = len(self._window)  # tokens of the window whose text is out
        self._seen = self._whole()

    def feed(self, token: int) -> str:
        """The text that `token` makes certain, often none."""
        if token in self._special:
            return ""
        self._window.append(token)
        text = self._decode(self._window)
        held = len(self._window) - self._read
        if text.endswith(HALF):
            return "" if held < MOST_HELD else self._let_out_most(text)
        if text == self._seen and held > MOST_HELD:
            self._thin_out()
        return self._let_out(text)

    def flush(self) -> str:
        """What is still held back, for a sequence that has ended."""
        return self._let_out(self._decode(self._window)) if self._window else ""

    def _let_out_most(self, text: str) -> str:
        """All but the last bytes, with which a character may begin; the cut is between two."""
        for kept in range(BYTES - 1, 2 * BYTES - 1):
            certain = self._decode(self._window[:-kept])
            if text.startswith(certain):
                new = certain[len(self._seen) :]
                self._window = self._window[self._read :]
                self._read = len(self._window) - kept
                self._seen = self._decode(self._window[: self._read])
                return new
        return self._let_out(text)

    def _thin_out(self) -> None:
        """Of many tokens without a text one is enough to tell what stands around them apart."""
        thinner = [*self._window[: self._read], self._window[-1]]
        if self._decode(thinner) == self._seen:
            self._window = thinner

    def _let_out(self, text: str) -> str:
        new = text[len(self._seen) :]
        if new:  # else the window would begin with tokens that have no text to lean on
            self._window = self._window[self._read :]
            self._read = len(self._window)
            self._seen = self._decode(self._window)
        return new

    def _context(self, before: list[int]) -> list[int]:
        """The end of `before`, from the beginning of a character on."""
        for length in range(min(CONTEXT, len(before)), len(before)):
            window = before[-length:] if length else []
            if window and not self._decode(window).startswith(HALF):
                return window
        return before

    def _whole(self) -> str:
        """The text of the window without a character that it ends within: the answer begins with
        that one. In some vocabularies half a character spoils those before it as well."""
        ends = range(len(self._window), max(len(self._window) - BYTES, 0), -1)
        texts = (self._decode(self._window[:end]).rstrip(HALF) for end in ends)
        return max(texts, key=len, default="")
