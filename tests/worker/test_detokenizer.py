"""Text from tokens as they come, against decoding them all at once."""

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, strategies as st
from support.tiny import byte_level_tokenizer, sentencepiece_tokenizer
from transformers import PreTrainedTokenizerFast

from danlu.worker.detokenizer import MOST_HELD, Detokenizer
from danlu.worker.vocabulary import Vocabulary

TOKENIZERS = {"byte level": byte_level_tokenizer, "sentencepiece": sentencepiece_tokenizer}
TEXTS = st.text() | st.text("丹炉 好。😊👍🏽é ab\n", max_size=60)


@pytest.fixture(params=sorted(TOKENIZERS), scope="module")
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


@cache
def vocabulary_of(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    return Vocabulary(tokenizer)


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def spelled(
    tokenizer: PreTrainedTokenizerFast, ids: Sequence[int], before: Sequence[int] = ()
) -> list[str]:
    """What is let out token by token, and at the end."""
    vocabulary = vocabulary_of(tokenizer)
    detokenizer = Detokenizer(vocabulary.decode, vocabulary.special, before)
    return [*map(detokenizer.feed, ids), detokenizer.flush()]


@given(text=TEXTS)
def test_the_parts_add_up_to_the_whole(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = ids_of(tokenizer, text)
    assert "".join(spelled(tokenizer, ids)) == vocabulary_of(tokenizer).decode(ids)


@given(text=TEXTS)
def test_no_half_character_is_let_out(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    text = text.replace("\ufffd", "")
    assert "\ufffd" not in "".join(spelled(tokenizer, ids_of(tokenizer, text)))


@given(before=TEXTS, text=TEXTS)
def test_an_answer_that_continues_a_text_keeps_its_spaces(
    tokenizer: PreTrainedTokenizerFast, before: str, text: str
) -> None:
    """Wherever the tokens are parted, within a character too."""
    whole = f"x{before}{text}".replace("\ufffd", "")
    ids = ids_of(tokenizer, whole)
    parted = len(ids_of(tokenizer, f"x{before}"))
    said = vocabulary_of(tokenizer).decode(ids[:parted]).rstrip("\ufffd")
    assert said + "".join(spelled(tokenizer, ids[parted:], ids[:parted])) == whole


def test_the_first_word_after_a_prompt_has_its_space() -> None:
    tokenizer = sentencepiece_tokenizer()
    prompt, answer = ids_of(tokenizer, "The morning"), ids_of(tokenizer, "is cold")
    assert "".join(spelled(tokenizer, answer, prompt)) == " is cold"
    assert "".join(spelled(tokenizer, answer)) == "is cold"


def test_special_tokens_have_no_text_and_take_no_space_away() -> None:
    tokenizer = sentencepiece_tokenizer()
    one, two = ids_of(tokenizer, "The cat"), ids_of(tokenizer, "is cold")
    assert "".join(spelled(tokenizer, [*one, *[2] * 50, *two])) == "The cat is cold"


@given(ids=st.lists(st.integers(3, 399), min_size=1, max_size=80))
def test_garbage_is_held_back_for_a_while_only(ids: list[int]) -> None:
    """Ids that spell no text: bytes that are no characters."""
    parts = spelled(byte_level_tokenizer(), ids)
    assert any(parts)
    for start in range(0, len(ids) - MOST_HELD):
        assert any(parts[start : start + MOST_HELD])


def test_a_step_costs_the_same_however_long_the_answer_is() -> None:
    tokenizer = byte_level_tokenizer()
    vocabulary = vocabulary_of(tokenizer)
    longest = 0

    def decode(ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return vocabulary.decode(ids)

    detokenizer = Detokenizer(decode, vocabulary.special)
    lone_byte = tokenizer.convert_tokens_to_ids("ä")  # 0xE4: the beginning of a character
    assert isinstance(lone_byte, int)
    for token in [*ids_of(tokenizer, "早上好 good morning 😊" * 200), *[lone_byte] * 2000]:
        detokenizer.feed(token)
    assert longest <= 2 * MOST_HELD
