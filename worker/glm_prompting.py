"""Prompts of ChatGLM2 and ChatGLM3: rounds and roles in place of a chat template.

Their conversations are cut to the context here, from the oldest round on; other families' chat
templates do not tell where a round ends. What a user writes in `messages` is text. A `prompt` is
text too, but one that FastChat's servers and pages have written by the family's template, which the
worker tells them, is understood as the conversation that it spells.
"""

import logging
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ..adapters.models.chatglm.rounds import (
    Conversation,
    Turn,
    conversation,
    cut,
    is_spelled,
    spelled_turns,
)
from ..adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from ..adapters.wire.generation import GenerateBody
from .prompting import Asked, Prompting
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)

KEPT_FREE = 4  # one part in so many of the context is the most that is kept free for an answer


def prompting_for(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    template: str | None,
    context_length: int,
) -> Prompting:
    """The way to ask a model with this tokenizer; a `template` of FastChat's by name overrules."""
    if isinstance(tokenizer, ChatGLMTokenizer) and template in (None, _name(tokenizer)):
        return GlmPrompting(tokenizer, vocabulary, context_length)
    return Prompting(tokenizer, vocabulary, template)


class GlmPrompting(Prompting):
    """Read by any thread, as every prompting is."""

    def __init__(
        self, tokenizer: ChatGLMTokenizer, vocabulary: Vocabulary, context_length: int
    ) -> None:
        super().__init__(tokenizer, vocabulary, _name(tokenizer))
        self._glm = tokenizer
        self._context = context_length
        self._ends = tokenizer.end_ids
        if tokenizer.generation == 3:  # this vocabulary's ids, where FastChat has the original's
            self.conversation = {**self.conversation, "stop_token_ids": list(self._ends)}

    def ask(self, body: GenerateBody, *, taken: int = 0) -> Asked:
        if body.messages is not None:
            whole = conversation(Turn(m.role, m.content) for m in body.messages)
            context = self._context - taken
            room = min(body.max_new_tokens, context // KEPT_FREE)
            spoken = self._fitted(whole, context - room)
            ids, text = self._glm.ids_of(spoken), self._glm.text_of(spoken)
            return self._asked(ids, text, continues=spoken.continues)
        if body.prompt is not None and (turns := self._roles(body.prompt)):
            ids = self._glm.ids_of_turns(turns)
            return self._asked(ids, body.prompt, continues=turns[-1].role == "assistant")
        if body.prompt is not None and self._glm.generation == 2 and is_spelled(body.prompt):
            return self._asked(self.encode(body.prompt), body.prompt, continues=False)
        return super().ask(body, taken=taken)

    def count(self, text: str) -> int:
        turns = self._roles(text)
        return len(self._glm.ids_of_turns(turns)) if turns else super().count(text)

    def _fitted(self, whole: Conversation, limit: int) -> Conversation:
        spoken, dropped = cut(whole, lambda part: len(self._glm.ids_of(part)) <= limit)
        if dropped:
            log.info("history cut rounds=%d of=%d limit=%d", dropped, len(whole.rounds), limit)
        return spoken

    def _asked(self, ids: Sequence[int], text: str, *, continues: bool) -> Asked:
        return Asked(tuple(ids), text, (), self._ends, continues=continues, finished=True)

    def _roles(self, prompt: str) -> list[Turn]:
        return spelled_turns(prompt) if self._glm.generation == 3 else []


def _name(tokenizer: ChatGLMTokenizer) -> str:
    """FastChat's name for the family's conversation template."""
    return f"chatglm{tokenizer.generation}"
