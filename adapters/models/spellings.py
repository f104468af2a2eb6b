"""The texts of a chat template as ids, in which what a user writes never becomes a special token.

Special tokens that a user's text spells are hidden between marks while the template writes around
it, and are put back as ordinary tokens.
"""

from collections.abc import Callable, Iterable, Sequence

from transformers import PreTrainedTokenizerBase

PRIVATE = range(0xE000, 0xF900)  # characters that mean nothing by themselves

Encode = Callable[[str], Sequence[int]]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that is no text."""
    added = tokenizer.added_tokens_decoder
    return frozenset(i for i, token in added.items() if token.special) | frozenset(
        tokenizer.all_special_ids
    )


def mark_not_in(texts: Iterable[str]) -> str | None:
    """A character that can stand for something else, as no text has it; None if there is none."""
    used = set().union(*texts)
    return next((chr(code) for code in PRIVATE if chr(code) not in used), None)


class Spellings:
    """The spellings of a tokenizer's special tokens. Read by any thread."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._spelled = _spelled(tokenizer)

    def hide(self, text: str, mark: str) -> str:
        """Special tokens' spellings replaced by their numbers between marks."""
        for number, (spelling, _) in enumerate(self._spelled):
            text = text.replace(spelling, f"{mark}{number}{mark}")
        return text

    def shown(self, text: str, mark: str) -> str:
        """The text with what was hidden in it."""
        parts = text.split(mark)  # text, number, text, number, …, text
        parts[1::2] = [self._spelled[int(number)][0] for number in parts[1::2]]
        return "".join(parts)

    def ids(
        self, text: str, mark: str, encode: Encode, first: Encode | None = None
    ) -> tuple[int, ...]:
        """The ids of a text; what was hidden in it becomes ordinary tokens.

        `encode` gives those of a part of it, and `first` those of its first part.
        """
        start, *rest = text.split(mark)
        ids = tuple((first or encode)(start))
        for number, part in zip(rest[::2], rest[1::2], strict=True):
            ids += self._spelled[int(number)][1]
            ids += tuple(encode(part)) if part else ()
        return ids


def _spelled(tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, tuple[int, ...]]]:
    """Every special token's spelling, longest first, and its ids as ordinary text.

    Asked once: the option changes the tokenizer, which threads share from now on.
    """
    tokens = {str(tokenizer.convert_ids_to_tokens(i)) for i in special_ids(tokenizer)}
    spelled = [
        (s, tuple(tokenizer.encode(s, add_special_tokens=False, split_special_tokens=True)))
        for s in sorted(tokens, key=lambda s: (-len(s), s))
    ]
    tokenizer.encode("", add_special_tokens=False, split_special_tokens=False)
    return spelled
