"""How a model with a chat template is trained to answer: what is served, and what it goes on with.

An answer is learned with all that the template writes of it, up to and with the token that ends a
turn. Prompts are written as the worker writes them: nothing of a text becomes a special token.
"""

import hashlib
from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ...adapters.errors import StartError
from ...adapters.models.chatglm.rounds import Conversation, Turn, as_turns
from ...adapters.models.spellings import Spellings, mark_not_in, special_ids
from .dialogue import Unusable
from .prompts import Exchange

PROBE = "\ue000"  # an answer that no template has


class TemplateForm:
    """Raises StartError for a tokenizer that has no chat template, or one without answers."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise StartError(
                "the model has no chat template, so it is not known how it is asked; put one into "
                "its directory, as chat_template.jinja or in tokenizer_config.json"
            )
        self._tokenizer = tokenizer
        self._spellings = Spellings(tokenizer)
        self._special = special_ids(tokenizer)
        self.key = _key(tokenizer)
        asked = [Turn("user", "?")]
        self._tail = self._after_answer(asked)
        tail = self._encode(self._tail)
        ends = self._specials(tail)
        self._ends = len(ends)
        self._end = [tail[ends[0]]] if ends else self._eos()
        self._after = tail[ends[0] + 1 :] if ends else []
        prompt = self._encode(self._write(asked, open_answer=True))
        self.prefix = next((n for n, each in enumerate(prompt) if each not in self._special), 0)

    def exchange(self, spoken: Conversation, answer: str) -> Exchange:
        turns = [*as_turns(spoken), Turn("assistant", answer)]
        mark = mark_not_in(turn.content for turn in turns)
        if mark is None:
            raise Unusable("undecodable text", "it uses every private character of Unicode")
        *before, last = [
            Turn(turn.role, self._spellings.hide(turn.content, mark)) for turn in turns
        ]
        asked = self._write(before, open_answer=True)
        whole = self._write([*before, last], open_answer=False)
        prompt = self._ids(asked, mark)
        if not (whole.startswith(asked) and whole.endswith(self._tail)):
            # The template opens an answer with what it does not write in one, such as a thought.
            return self._closed(prompt, self._ids(last.content, mark))
        ids = self._ids(whole, mark)
        if ids[: len(prompt)] != prompt:
            ids = [*prompt, *self._ids(whole[len(asked) :], mark)]
        if self._ends:
            end = self._specials(ids)[-self._ends] + 1
            return Exchange(prompt, ids[len(prompt) : end], ids[end:])
        text = whole[len(asked) : len(whole) - len(self._tail)]
        return self._closed(prompt, self._ids(text, mark))

    def _specials(self, ids: Sequence[int]) -> list[int]:
        return [at for at, each in enumerate(ids) if each in self._special]

    def _closed(self, prompt: list[int], answer: list[int]) -> Exchange:
        return Exchange(prompt, [*answer, *self._end], self._after)

    def _after_answer(self, asked: Sequence[Turn]) -> str:
        """What the template writes after an answer."""
        try:
            whole = self._write([*asked, Turn("assistant", PROBE)], open_answer=False)
        except Unusable as exc:
            raise StartError(f"{exc}, which is a question and its answer") from exc
        _, found, tail = whole.rpartition(PROBE)
        if not found:
            raise StartError("the model's chat template leaves answers out; it needs another one")
        return tail

    def _write(self, turns: Sequence[Turn], *, open_answer: bool) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=open_answer
            )
        except (TemplateError, TypeError, ValueError) as exc:
            raise Unusable(
                "refused by the chat template", f"the model's chat template refuses it: {exc}"
            ) from exc
        return str(text)

    def _ids(self, text: str, mark: str) -> list[int]:
        return list(self._spellings.ids(text, mark, self._encode))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _eos(self) -> list[int]:
        end = self._tokenizer.eos_token_id
        if end is None:
            raise StartError("the model's tokenizer has no eos_token, so its answers cannot end")
        return [end]


def _key(tokenizer: PreTrainedTokenizerBase) -> str:
    """Changes with the vocabulary, with the template and with the tokens that it names."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = str(sorted(tokenizer.get_vocab().items())) if backend is None else backend.to_str()
    named = sorted(tokenizer.special_tokens_map.items())
    content = f"{type(tokenizer).__name__} {vocabulary} {named} {tokenizer.chat_template}"
    return hashlib.sha256(content.encode()).hexdigest()
