"""Holds answers to the structure that was asked for: which tokens may come next.

A structure becomes a grammar's text at the door, where it is found good or refused; a sequence has
its own place in it. Knows tokens as bytes, and no model and no sampling.
"""

import json
import re
from functools import cached_property, lru_cache
from typing import Any

import torch
from llguidance import LLMatcher
from llguidance.gbnf_to_lark import any_to_lark
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..adapters.errors import BadRequest, ServeError, shown
from ..adapters.wire.generation import Structure
from .lexicon import Lexicon
from .masks import BITS

FIELD = "structured_outputs"
KEPT = 64  # grammars of late requests; one takes about a millisecond to make and little memory
# Between JSON's parts: nothing, a space, or a new line with its indent. Without an end to it, a
# model that is at a loss writes spaces until its tokens are used up.
WHITE_SPACE = r"( |\n {0,40})?"
GBNF = re.compile(r"^\s*[\w-]+\s*::=", re.MULTILINE)
WORDS = {  # why llguidance gives up, where it has no sentence for it
    "NoExtension": "no text can satisfy it",
    "NoExtensionBias": "no text can satisfy it",
    "ParserTooComplex": "it is too complex",
    "LexerTooComplex": "it is too complex",
}


class Grammars:
    """All that one model's answers may have to follow. Read by any thread.

    `vocabulary` is the number of ids that the model scores, `end_ids` what ends its answers. The
    vocabulary's bytes are looked up when the first structure is asked for.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, vocabulary: int, end_ids: frozenset[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._ends = end_ids
        self._made = lru_cache(KEPT)(self._make)
        self.possible = bool(end_ids) and Lexicon.knows(tokenizer)

    def checked(self, asked: Structure, *, opens: bool) -> str:
        """The grammar for `asked`; raises BadRequest that names the field.

        An answer that `opens` a text may begin with the space that is dropped when it is shown.
        Takes milliseconds, the first time half a second: nothing for an event loop.
        """
        ((field, wanted),) = asked.given.items()
        try:
            grammar = _written(field, wanted)
            first = self._made(grammar)
            if opens and self._lexicon.opening:
                grammar = self._opened(grammar, first)
                self._made(grammar)
        except ValueError as exc:
            name = f"{FIELD}.{field}"
            raise BadRequest(f"'{name}' cannot be followed: {_reason(exc)}", param=name) from exc
        return grammar

    def begin(self, grammar: str) -> "Grammar":
        """The beginning of an answer that follows `grammar`, which was checked."""
        return Grammar(self._made(grammar).deep_copy(), self._lexicon.size, self._vocabulary)

    @cached_property
    def _lexicon(self) -> Lexicon:
        if not self.possible:
            raise BadRequest(
                f"'{FIELD}' cannot be followed by this model: its tokenizer does not tell the bytes"
                " of its tokens, or no token that ends an answer",
                param=FIELD,
            )
        try:
            return Lexicon(self._tokenizer, self._vocabulary, self._ends)
        except ValueError as exc:
            raise BadRequest(
                f"'{FIELD}' cannot be followed by this model's tokenizer: {shown(str(exc))}",
                param=FIELD,
            ) from exc

    def _make(self, grammar: str) -> LLMatcher:
        """The place before an answer's first token; raises ValueError for what cannot begin.

        It is shared from now on, and only copied.
        """
        matcher = LLMatcher(self._lexicon.table, grammar, log_level=0)
        matcher.compute_bitmask()
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def _opened(self, grammar: str, first: LLMatcher) -> str:
        """With a space before it: one that must be there if the answer itself may begin so."""
        space = self._lexicon.opening
        blank = self._lexicon.table.greedy_tokenize(space)
        begins = first.deep_copy().validate_tokens(blank) > 0
        rule = f'start: "{space}"{"" if begins else "?"} @answer'
        (answer,) = json.loads(grammar)["grammars"]
        return json.dumps({"grammars": [{"lark_grammar": rule}, {**answer, "name": "answer"}]})


class Grammar:
    """One sequence's place in a grammar. Owned by the thread that runs the sequence."""

    def __init__(self, matcher: LLMatcher, size: int, vocabulary: int) -> None:
        self._matcher = matcher
        self._words = -(-size // BITS)
        self._seen = -(-vocabulary // BITS)

    @property
    def finished(self) -> bool:
        """Nothing can follow but the end."""
        return self._matcher.is_stopped()

    def mask(self) -> Tensor:
        """int32 [vocabulary / 32, rounded up]: bit j of word i tells that token 32 i + j may come.

        End tokens may come exactly where the grammar may end. Raises ServeError where the grammar
        cannot be followed any further.
        """
        mask = torch.empty(self._words, dtype=torch.int32)
        self._matcher.unsafe_compute_mask_ptr(mask.data_ptr(), mask.numel() * mask.itemsize)
        self._check()
        return mask[: self._seen]

    def accept(self, token: int) -> None:
        """Go on after `token`, which the mask allowed."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            why = _reason(ValueError(self._matcher.get_error()))
            raise ServeError(f"the answer's structure cannot be followed any further: {why}")


def _written(field: str, wanted: Any) -> str:
    """A structure in llguidance's own form; raises ValueError for a grammar that is none."""
    if field == "choice":
        return LLMatcher.grammar_from_regex("|".join(map(_literal, wanted)))
    if field == "regex":
        return LLMatcher.grammar_from_regex(wanted)
    if field == "grammar":
        lark = _lark(wanted) if GBNF.search(wanted) else wanted
        return json.dumps({"grammars": [{"lark_grammar": lark}]})
    schema = {"type": "object"} if field == "json_object" else wanted
    return LLMatcher.grammar_from_json_schema(
        json.dumps(schema), defaults={"whitespace_pattern": WHITE_SPACE}
    )


def _literal(text: str) -> str:
    """A regular expression for this text alone."""
    return "".join(c if c.isalnum() else rf"\x{{{ord(c):x}}}" for c in text)


def _lark(gbnf: str) -> str:
    try:
        return any_to_lark(gbnf)
    except Exception as exc:  # whatever the converter raises
        raise ValueError(str(exc)) from exc


def _reason(exc: ValueError) -> str:
    """What llguidance says, in the one line that says it."""
    lines = str(exc).splitlines() or ["no reason is given"]
    error = next((x.removeprefix("error: ") for x in lines if x.startswith("error: ")), lines[0])
    return WORDS.get(error, shown(error))
