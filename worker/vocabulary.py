"""What a tokenizer's ids mean as text. Knows nothing of a model."""

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from ..adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from ..adapters.models.spellings import special_ids

SPELLINGS_KEPT = 50_000  # of single tokens, as log-probabilities show them
ANCHOR = "a"  # text before a token, so that the token keeps its leading space


class Vocabulary:
    """`special` ids decode to no text. Read by any thread: decoding changes nothing.

    ChatGLM's are not among them: they have no text either, but what stands around one depends on
    it, so its tokenizer must see them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._silent = isinstance(tokenizer, ChatGLMTokenizer)
        self.special = special_ids(tokenizer)
        self._anchor = list(tokenizer.encode(ANCHOR, add_special_tokens=False))
        self._bare = len(self._text(self._anchor))
        self.spell = lru_cache(SPELLINGS_KEPT)(self._spell)

    def decode(self, ids: Sequence[int]) -> str:
        """Their text, special tokens left out and no space tidied away."""
        return self._text([i for i in ids if i not in self.special], silent=self._silent)

    def _spell(self, token: int) -> str:
        """One token by itself; a part of a character as the vocabulary writes it."""
        text = self._text([*self._anchor, token])[self._bare :]
        if "\ufffd" in text or not text:
            return str(self._tokenizer.convert_ids_to_tokens(token))
        return text

    def _text(self, ids: Sequence[int], silent: bool = False) -> str:
        text = self._tokenizer.decode(
            list(ids), skip_special_tokens=silent, clean_up_tokenization_spaces=False
        )
        return str(text)
