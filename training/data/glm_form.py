"""How ChatGLM2 and ChatGLM3 are trained to answer: their served prompts, and an answer's own ids.

An answer is encoded by itself, because that is how it is generated. What ends one is the first of
the ids at which the worker ends it: ChatGLM2's </s>, and with ChatGLM3 the user's role, which is
also what stands there once the answer is history.
"""

import hashlib
from pathlib import Path

from ...adapters.models.chatglm.rounds import Conversation
from ...adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from .prompts import Exchange

METADATA = "\n"  # ChatGLM3's line after a role, empty where no tool is called


class GlmForm:
    def __init__(self, tokenizer: ChatGLMTokenizer) -> None:
        self._tokenizer = tokenizer
        self._opening = self._ids(METADATA) if tokenizer.generation == 3 else []
        self._end = tokenizer.end_ids[0]
        self.prefix = len(tokenizer.prefix)
        vocabulary = hashlib.sha256(Path(tokenizer.vocab_file).read_bytes()).hexdigest()
        self.key = f"chatglm{tokenizer.generation} {vocabulary}"

    def exchange(self, spoken: Conversation, answer: str) -> Exchange:
        prompt = self._tokenizer.ids_of(spoken)
        return Exchange(prompt, [*self._opening, *self._ids(answer), self._end])

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)  # type: ignore[no-any-return]
