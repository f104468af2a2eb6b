"""A model's vocabulary as the grammars read it: the bytes that each id adds to a text."""

from collections.abc import Callable, Sequence

from llguidance import LLTokenizer, TokenizerWrapper
from llguidance.hf import from_tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..adapters.models.chatglm.tokenizer import ChatGLMTokenizer

PROBE = "a 丹炉 1\n👋"  # read and spelled again, it tells whether the bytes are right
BLANK = "<0x20>"  # ChatGLM reads no text as this; in front of an answer it would not be dropped


class Lexicon:
    """Read by any thread. `size` is the number of ids, `table` what llguidance knows of them.

    `opening` is a space where the first one of a text is dropped when it is shown, as SentencePiece
    does; else it is empty. Takes about a second for a large vocabulary; raises ValueError for one
    whose tokens are no bytes.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, size: int, end_ids: frozenset[int]
    ) -> None:
        self.size = max(size, len(tokenizer))
        ends = sorted(end_ids)
        words = _words(tokenizer, self.size, ends)
        self.table = LLTokenizer(TokenizerWrapper(words), n_vocab=self.size, eos_token=ends)
        spelled = words.spelled(tokenizer.encode(PROBE, add_special_tokens=False))
        self.opening = " " if spelled == f" {PROBE}".encode() else ""
        if spelled != f"{self.opening}{PROBE}".encode():
            raise ValueError(f"it spells {PROBE!r} as {spelled!r}")

    @staticmethod
    def knows(tokenizer: PreTrainedTokenizerBase) -> bool:
        """Whether the kind of tokenizer is one that tells its bytes."""
        return isinstance(tokenizer, ChatGLMTokenizer | PreTrainedTokenizerFast)


class Words:
    """What llguidance asks of a tokenizer; the names are its own. `split` reads a text's middle.

    A special token has no bytes, so that no text can ask for one.
    """

    bos_token_id = None

    def __init__(
        self,
        tokens: Sequence[bytes],
        special: Sequence[int],
        end: int,
        split: Callable[[str], list[int]],
    ) -> None:
        self.tokens = tokens
        self.special_token_ids = special
        self.eos_token_id = end
        self._split = split
        self._bytes = {token[0]: i for i, token in enumerate(tokens) if len(token) == 1}

    def spelled(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.tokens[i] for i in ids)

    def __call__(self, text: str) -> list[int]:
        """The ids of what a grammar leaves no choice about.

        A text may not come back as it is: SentencePiece's own sign for a space becomes one.
        """
        ids = self._split(text)
        content = text.encode()
        return ids if self.spelled(ids) == content else [self._bytes[byte] for byte in content]


def _words(tokenizer: PreTrainedTokenizerBase, size: int, ends: Sequence[int]) -> Words:
    if isinstance(tokenizer, ChatGLMTokenizer):
        tokens = [tokenizer.spelled(i) for i in range(size)]
        if (blank := tokenizer.get_vocab().get(BLANK)) is not None:
            tokens[blank] = b""
        return Words(tokens, sorted(tokenizer.special_ids), ends[0], tokenizer.ids_within)
    assert isinstance(tokenizer, PreTrainedTokenizerFast), "`knows` was asked before"
    read = from_tokenizer(tokenizer)
    special = [i for i in range(read.vocab_size) if read.is_special_token(i)]
    silent = frozenset(special).union(range(read.vocab_size, size))  # a model may have more rows
    tokens = [b"" if i in silent else read.decode_bytes([i]) for i in range(size)]
    return Words(tokens, special, ends[0], read.tokenize_str)
