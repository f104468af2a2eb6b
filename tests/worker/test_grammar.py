"""What a grammar allows, on vocabularies of each kind: any way through is what was asked for."""

import json
import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from support.glm import END, PADDED, glm_tokenizer
from support.tiny import byte_level_tokenizer, sentencepiece_tokenizer
from transformers import BertTokenizer, PreTrainedTokenizerBase

from danlu.adapters.errors import BadRequest, ServeError
from danlu.adapters.wire.generation import Structure
from danlu.worker.detokenizer import Detokenizer
from danlu.worker.grammar import Grammar, Grammars
from danlu.worker.vocabulary import Vocabulary

SIZE = PADDED  # rows of logits: more than any of the vocabularies has ids
ENDS = frozenset({END, 600})
MOST = 250  # tokens of a walk; one that is not through by then is not judged
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "chatglm": glm_tokenizer,
    "byte-level": byte_level_tokenizer,
    "sentencepiece": sentencepiece_tokenizer,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "城市": {"enum": ["北京", "上海"]},
        "kind": {"const": "\u4e2d\u6587 ▁"},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "note": {"type": "string", "maxLength": 9},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["城市", "kind", "count", "note", "tags"],
    "additionalProperties": False,
}
CHOICES = ["是", "是的", " a", "a", 'x▁"\\/\n\x7f']
REGEX = r"[ab ]{1,3}中?\p{Han}{0,2}"
GBNF = 'root ::= "a" | "北" root'
LARK = 'start: item ("," item)*\nitem: /[0-9]{1,2}/ | "无"'


@cache
def grammars(name: str) -> Grammars:
    return Grammars(TOKENIZERS[name](), SIZE, ENDS)


@cache
def vocabulary(name: str) -> Vocabulary:
    return Vocabulary(TOKENIZERS[name]())


def allowed(grammar: Grammar) -> list[int]:
    """The tokens whose bits are set; `masks` is who obeys them."""
    words = grammar.mask().numpy()
    assert (words.dtype, words.shape) == (np.int32, (SIZE // 32,))
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    return [int(token) for token in bits.nonzero()[0]]


def walk(name: str, asked: Structure, seed: int, *, opens: bool = True) -> str | None:
    """The text that a reader sees of a random way through; None if it has not come to its end."""
    chance = random.Random(seed)
    grammar = grammars(name).begin(grammars(name).checked(asked, opens=opens))
    words = vocabulary(name)
    before = () if opens else TOKENIZERS[name]().encode("a", add_special_tokens=False)
    reader, text = Detokenizer(words.decode, words.special, before), ""
    for _ in range(MOST):
        may = allowed(grammar)
        ends = [token for token in may if token in ENDS]
        token = ends[0] if ends and chance.random() < 0.3 else chance.choice(may)
        grammar.accept(token)
        text += "" if token in ENDS else reader.feed(token)
        if grammar.finished:
            return text + reader.flush()
    return None


def follows(text: str, asked: dict[str, Any]) -> bool:
    ((field, wanted),) = asked.items()
    if field == "json":
        said = json.loads(text)
        return (
            said.keys() == wanted["properties"].keys()
            and said["城市"] in ("北京", "上海")
            and said["kind"] == "中文 ▁"
            and 0 <= said["count"] <= 99
            and len(said["note"]) <= 9
            and all(isinstance(tag, bool) for tag in said["tags"])
        )
    if field == "json_object":
        return isinstance(json.loads(text), dict)
    if field == "choice":
        return text in wanted
    pattern = {"regex": r"[ab ]{1,3}中?[\u2e80-\U0003ffff]{0,2}", GBNF: "北*a"}
    item = "([0-9]{1,2}|无)"
    pattern[LARK] = f"{item}(,{item})*"
    return re.fullmatch(pattern.get(wanted, pattern["regex"]), text) is not None


ASKED = [
    {"json": SCHEMA},
    {"json": json.dumps(SCHEMA)},
    {"json_object": True},
    {"regex": REGEX},
    {"choice": CHOICES},
    {"grammar": GBNF},
    {"grammar": LARK},
]


@pytest.mark.parametrize("opens", [True, False], ids=["opens", "continues"])
@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_any_way_through_is_what_was_asked_for(
    name: str, asked: dict[str, Any], opens: bool
) -> None:
    structure = Structure(**asked)
    texts = [walk(name, structure, seed, opens=opens) for seed in range(12)]
    ended = [text for text in texts if text is not None]
    assert len(ended) >= 4
    wanted = {"json": SCHEMA} if "json" in asked else asked
    assert [text for text in ended if not follows(text, wanted)] == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.sampled_from(sorted(TOKENIZERS)),
    st.booleans(),
)
def test_a_choice_is_one_of_the_texts_whatever_they_are(
    texts: list[str], seed: int, name: str, opens: bool
) -> None:
    assert walk(name, Structure(choice=texts), seed, opens=opens) in texts


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=8), st.integers(0, 2**32), st.sampled_from(sorted(TOKENIZERS)))
def test_a_constant_is_written_as_json_whatever_it_is(text: str, seed: int, name: str) -> None:
    said = walk(name, Structure(json={"const": text}), seed)
    assert said is not None and json.loads(said) == text


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_end_may_come_exactly_where_the_grammar_may_end(name: str) -> None:
    made = grammars(name)
    grammar = made.begin(made.checked(Structure(regex="ab?"), opens=False))
    bare = TOKENIZERS[name]()
    first = next(t for t in allowed(grammar) if vocabulary(name).spell(t) == "a")
    assert not ENDS & set(allowed(grammar)), bare
    grammar.accept(first)
    assert set(allowed(grammar)) >= ENDS and not grammar.finished
    grammar.accept(END)
    assert grammar.finished


def test_a_grammar_that_nothing_can_follow_has_finished_without_an_end() -> None:
    made = grammars("byte-level")
    grammar = made.begin(made.checked(Structure(choice=["a"]), opens=True))
    (token,) = allowed(grammar)
    assert not grammar.finished
    grammar.accept(token)
    assert grammar.finished


@pytest.mark.parametrize("name", ["chatglm", "sentencepiece"])
def test_an_answer_may_begin_as_its_tokenizer_begins_a_text(name: str) -> None:
    """With a space that nobody sees; where text goes before it there is none to spare."""
    made = grammars(name)
    for opens in (True, False):
        grammar = made.begin(made.checked(Structure(json_object=True), opens=opens))
        names = TOKENIZERS[name]().convert_ids_to_tokens(allowed(grammar))
        assert ("▁" in names) is opens
        assert "<0x7B>" in names or "{" in names


def test_a_model_at_a_loss_cannot_write_spaces_for_ever() -> None:
    made = grammars("byte-level")
    grammar = made.begin(made.checked(Structure(json_object=True), opens=True))
    for written in range(60):
        blank = [t for t in allowed(grammar) if not vocabulary("byte-level").spell(t).strip()]
        if written and not blank:
            return
        grammar.accept(blank[0] if written else allowed(grammar)[0])
    pytest.fail("a space could follow each of 60")


def test_sequences_of_one_grammar_do_not_move_each_other() -> None:
    made = grammars("byte-level")
    text = made.checked(Structure(choice=["ab", "cd"]), opens=True)
    one, other = made.begin(text), made.begin(text)
    before = allowed(other)
    one.accept(before[0])
    assert allowed(other) == before
    assert text == made.checked(Structure(choice=["ab", "cd"]), opens=True)


def test_a_token_that_was_not_allowed_is_an_error() -> None:
    made = grammars("byte-level")
    grammar = made.begin(made.checked(Structure(choice=["a"]), opens=True))
    with pytest.raises(ServeError, match="cannot be followed any further"):
        grammar.accept(END)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"json": {"type": "strin"}}, "Invalid type: strin"),
    ({"json": {"not": {}}}, "Unimplemented keys.*not"),
    ({"json": {"$ref": "#/$defs/x"}}, "does not exist"),
    ({"json": {"$ref": "http://127.0.0.1:9/x"}}, "not present"),
    ({"json": {"$ref": "#"}}, "no text can satisfy it"),
    ({"json": {"type": "string", "pattern": "("}}, "unclosed group"),
    ({"json": {"const": "\ud800"}}, "surrogate|unexpected end|invalid"),
    ({"regex": "a(?=b)"}, "look-around"),
    ({"regex": "(" * 100_000}, "."),
    ({"regex": "[z-a]"}, "range"),
    ({"grammar": "start: nothing"}, "unknown name"),
    ({"grammar": "start: " + "(" * 100_000}, "nested"),
    ({"grammar": "root ::= nothing"}, "nothing"),
    ({"grammar": "root ::= " + "(" * 100_000}, "."),
    ({"grammar": "start: a\na: a"}, "no text can satisfy it"),
]


@pytest.mark.parametrize(("asked", "words"), BAD)
@pytest.mark.parametrize("opens", [True, False])
def test_what_cannot_be_followed_is_refused_in_a_sentence(
    asked: dict[str, Any], words: str, opens: bool
) -> None:
    (field,) = asked
    with pytest.raises(BadRequest, match=words) as info:
        grammars("chatglm").checked(Structure(**asked), opens=opens)
    assert str(info.value).startswith(f"'structured_outputs.{field}' cannot be followed: ")
    assert len(str(info.value)) < 180 and "\n" not in str(info.value)


def test_a_tokenizer_that_does_not_tell_its_bytes_is_refused() -> None:
    words: Any = BertTokenizer(vocab={"[UNK]": 0, "a": 1, "##b": 2, "[SEP]": 3})
    made = Grammars(words, 4, frozenset({3}))
    with pytest.raises(BadRequest, match="cannot be followed by this model's tokenizer"):
        made.checked(Structure(choice=["a"]), opens=True)


def test_a_model_without_an_end_is_refused_and_does_not_offer_it() -> None:
    made = Grammars(byte_level_tokenizer(), SIZE, frozenset())
    assert not made.possible and grammars("byte-level").possible
    with pytest.raises(BadRequest, match="no token that ends an answer"):
        made.checked(Structure(choice=["a"]), opens=True)
