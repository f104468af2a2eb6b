"""Text from tokens as they come, against decoding them all at once."""

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, strategies as st
from support.glm import glm_tokenizer, golden, golden_tokenizer
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


GLM_BYTES = [3 + byte for byte in "👋丼é\n ".encode()]  # the first pieces are the bytes
GLM_IDS = st.lists(
    st.integers(0, len(glm_tokenizer(3)) + 3)
    | st.sampled_from([*GLM_BYTES, *glm_tokenizer(3).special_ids]),
    max_size=60,
)


def glm_parts(generation: int, ids: Sequence[int], *, shown: bool = False) -> list[str]:
    """With the special tokens' names `shown`, or as a reader gets it."""
    tokenizer = golden_tokenizer(generation) if shown else glm_tokenizer(generation)
    decode = tokenizer.decode if shown else Vocabulary(tokenizer).decode
    detokenizer = Detokenizer(lambda ids: str(decode(list(ids))), frozenset())
    return [*map(detokenizer.feed, ids), detokenizer.flush()]


@pytest.mark.slow
@pytest.mark.parametrize("generation", [2, 3])
def test_every_golden_sequence_of_chatglm_adds_up(generation: int) -> None:
    data = golden()
    prefix = {2: "", 3: "chatglm3_"}[generation]
    sequences = [*data[f"{prefix}sequences"], *data[f"chatglm{generation}_ids"]]
    decoded = data[f"chatglm{generation}_sequences_decoded"]
    sums = ["".join(glm_parts(generation, ids, shown=True)) for ids in sequences]
    assert sums[: len(decoded)] == decoded
    texts = golden_tokenizer(generation).batch_decode(data[f"chatglm{generation}_ids"])
    assert sums[len(decoded) :] == texts


@pytest.mark.parametrize("generation", [2, 3])
@given(ids=GLM_IDS)
def test_any_ids_of_chatglm_add_up(generation: int, ids: list[int]) -> None:
    """Special tokens among them, bytes that are no character, ids beyond the vocabulary."""
    whole = Vocabulary(glm_tokenizer(generation)).decode(ids)
    assert "".join(glm_parts(generation, ids)) == whole
    assert whole == glm_tokenizer(2).decode(ids)


def test_an_emoji_of_chatglm_appears_whole_or_not_yet() -> None:
    assert glm_parts(2, [3 + byte for byte in "👋👋".encode()]) == [*["", "", "", "👋"] * 2, ""]


@pytest.mark.parametrize("lone", range(MOST_HELD - 4, 2 * MOST_HELD))
@pytest.mark.parametrize("text", ["丼", "é", "👋", "👋丼"])
def test_a_character_of_chatglm_after_bytes_that_are_none_is_whole(lone: int, text: str) -> None:
    """What is let out of a long run of bytes is never the beginning of a character."""
    ids = [3 + 0x80] * lone + [3 + byte for byte in text.encode()]
    assert "".join(glm_parts(2, ids)) == "\ufffd" * lone + text


def test_a_special_token_ends_a_character_of_chatglm() -> None:
    a, b, c = (3 + byte for byte in "丼".encode())
    assert "".join(glm_parts(2, [a, b, 2, c])) == "\ufffd" * 3


def test_chatglm_without_a_text_costs_the_same_however_long() -> None:
    vocabulary, longest = Vocabulary(glm_tokenizer()), 0

    def decode(ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return vocabulary.decode(ids)

    detokenizer = Detokenizer(decode, vocabulary.special)
    for token in [*glm_tokenizer().encode("a cat"), *[2] * 500, 3 + 0xF0, *[2, 3 + 0x9F] * 300]:
        detokenizer.feed(token)
    assert longest <= 3 * MOST_HELD
