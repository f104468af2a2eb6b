"""Turns what a request asks with into token ids. Knows tokenizers and templates, no model.

`messages` follow the model's chat template, or a FastChat template by name; a `prompt` is read as
it is, with the special prefix that the model's tokenizer puts before every text. In a `prompt`
special tokens may be spelled out, because FastChat's servers and pages write their templates that
way. In `messages` they may not: what a user writes is text, whatever it looks like. Such a spelling
is the only place where the ids differ from those of `apply_chat_template`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ..adapters.errors import BadRequest
from ..adapters.models.spellings import Spellings, mark_not_in
from ..adapters.wire.conversation import render
from ..adapters.wire.generation import GenerateBody, Message
from .templates import conversation_for
from .vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as ids and as the text to echo, and what its template says ends the answer.

    `continues` and `finished` are the answer's, as in `Job`.
    """

    ids: tuple[int, ...]
    text: str
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    continues: bool = False
    finished: bool = False


class Prompting:
    """Read by any thread: after construction nothing is changed.

    `conversation` is the FastChat template, in wire form, for those who write prompts themselves.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        vocabulary: Vocabulary,
        template: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._spellings = Spellings(tokenizer)
        own = self._write if tokenizer.chat_template else None
        self.conversation = conversation_for(
            own and (lambda messages: self._without_prefix(self._write(messages))), template
        )
        self._by_conversation = template is not None or own is None

    def ask(self, body: GenerateBody, *, taken: int = 0) -> Asked:
        """The prompt of `body`; raises BadRequest for messages that the template refuses."""
        if body.prompt_token_ids is not None:
            ids = tuple(body.prompt_token_ids)
            return Asked(ids, self._vocabulary.decode(ids), continues=True)
        if body.messages is not None:
            return self._converse(body.messages)
        assert body.prompt is not None, "a body has one kind of prompt"
        return Asked(self.encode(body.prompt), body.prompt, continues=True)

    def encode(self, text: str) -> tuple[int, ...]:
        """A text's ids with the special prefix, once: a text may spell it out itself."""
        ids = self._ids(text, prefix=True)
        prefix = self._ids("", prefix=True)
        doubled = prefix and ids[: 2 * len(prefix)] == prefix * 2
        ids = ids[len(prefix) :] if doubled else ids
        return ids or self._start()

    def count(self, text: str) -> int:
        """The number of tokens that `text` comes to as a prompt."""
        return len(self.encode(text))

    def _converse(self, messages: Sequence[Message]) -> Asked:
        mark = _mark_not_in(messages)
        hidden = [
            m.model_copy(update={"content": self._spellings.hide(m.content, mark)})
            for m in messages
        ]
        if not self._by_conversation:
            text = self._write(hidden)
            ids = self._spellings.ids(text, mark, self._bare)
            return Asked(ids, self._spellings.shown(text, mark))
        prompt = render(self.conversation, hidden)
        ids = self._spellings.ids(prompt.text, mark, self._bare, first=self.encode)
        shown = self._spellings.shown(prompt.text, mark)
        return Asked(ids, shown, prompt.stop, prompt.stop_token_ids)

    def _write(self, messages: Sequence[Message]) -> str:
        turns: list[dict[str, Any]] = [m.model_dump() for m in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, ValueError) as exc:
            raise BadRequest(
                f"the model's chat template refuses these messages: {exc}", param="messages"
            ) from exc
        return str(text)

    def _without_prefix(self, text: str) -> str:
        """A template may write the prefix that the tokenizer puts before every prompt anyway."""
        prefix = self._tokenizer.decode(list(self._ids("", prefix=True)))
        return text.removeprefix(str(prefix))

    def _bare(self, text: str) -> tuple[int, ...]:
        return self._ids(text, prefix=False)

    def _ids(self, text: str, prefix: bool) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=prefix))

    def _start(self) -> tuple[int, ...]:
        """What stands for an empty prompt: the token that begins a text."""
        bos = self._tokenizer.bos_token_id
        if bos is None:
            raise BadRequest("'prompt' is empty", param="prompt")
        return (bos,)


def _mark_not_in(messages: Sequence[Message]) -> str:
    mark = mark_not_in(m.content for m in messages)
    if mark is None:
        raise BadRequest("the messages use every private character of Unicode", param="messages")
    return mark
