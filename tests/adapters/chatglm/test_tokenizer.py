"""ChatGLM's tokenizer: what the original made of texts and ids, and what no text can do."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from support.glm import ODD, glm_tokenizer, golden, golden_tokenizer, vocab_file

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.tokenizer import ChatGLMTokenizer

TEXTS = st.text() | st.lists(st.sampled_from([*ODD, "a", "你好", "👋"])).map("".join)
GENERATIONS = pytest.mark.parametrize("generation", [2, 3])
TALK = [
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "你好👋！我是人工智能助手 ChatGLM2-6B。"},
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "晚上睡不着应该怎么办"},
]
TOOLS = [
    {"role": "system", "content": "You are ChatGLM3"},
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "你好！"},
    {"role": "assistant", "metadata": "interpreter", "content": "```python\nprint(1)\n```"},
    {"role": "observation", "content": "1"},
    {"role": "user", "content": "讲个笑话"},
]


def ids(generation: int, text: str, **how: Any) -> list[int]:
    return list(glm_tokenizer(generation).encode(text, **how))


@GENERATIONS
def test_every_golden_text_has_the_originals_ids(generation: int) -> None:
    data, tokenizer = golden(), golden_tokenizer(generation)
    assert [tokenizer.encode(text) for text in data["texts"]] == data[f"chatglm{generation}_ids"]


def test_golden_texts_without_special_tokens_and_as_one_batch() -> None:
    data, tokenizer = golden(), golden_tokenizer()
    plain = [tokenizer.encode(text, add_special_tokens=False) for text in data["texts"]]
    assert plain == data["chatglm2_ids_without_special"]
    assert tokenizer(data["texts"])["input_ids"] == data["chatglm2_ids"]


def test_golden_ids_decode_as_in_the_original() -> None:
    data, tokenizer = golden(), golden_tokenizer()
    assert tokenizer.batch_decode(data["chatglm2_ids"]) == data["chatglm2_decoded"]
    assert tokenizer.batch_decode(data["sequences"]) == data["chatglm2_sequences_decoded"]
    skipped = tokenizer.batch_decode(data["sequences"], skip_special_tokens=True)
    assert skipped == data["chatglm2_sequences_decoded_skip_special"]
    shown = golden_tokenizer(3).batch_decode(data["chatglm3_sequences"])
    assert shown == data["chatglm3_sequences_decoded"]


@GENERATIONS
def test_the_original_has_these_special_ids(generation: int) -> None:
    data, tokenizer = golden(), golden_tokenizer(generation)
    special = data[f"specials_chatglm{generation}"]
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in special} == special
    assert tokenizer.vocab_size == len(tokenizer) == data["ids"][f"vs{generation}"]
    assert tokenizer.special_ids == {0, 1, 2, *special.values()}
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)
    assert tokenizer.all_special_tokens == data["ids"]["all_special"]


def test_golden_padding_pairs_and_truncation() -> None:
    data, tokenizer = golden(), golden_tokenizer()
    padded = tokenizer(["你好", "Hello there, how are you"], padding=True)
    assert dict(padded) == data["padded_pair_batch"]
    assert tokenizer("你好", "Hello")["input_ids"] == data["text_pair"]
    cut = tokenizer("你好" * 50, truncation=True, max_length=10)
    assert cut["input_ids"] == data["truncated"]


def test_golden_prompts_of_both_generations() -> None:
    data = golden()
    text = golden_tokenizer().apply_chat_template(TALK, add_generation_prompt=True, tokenize=False)
    assert text == data["prompt"]
    prompt = golden_tokenizer().apply_chat_template(TALK, add_generation_prompt=True)
    assert prompt["input_ids"] == data["prompt_ids"]
    roles = golden_tokenizer(3).apply_chat_template(TOOLS, add_generation_prompt=True)
    assert roles["input_ids"] == data["chatglm3_chat_ids"]


@GENERATIONS
@given(text=TEXTS)
def test_no_text_yields_a_special_token(generation: int, text: str) -> None:
    tokenizer = glm_tokenizer(generation)
    assert not tokenizer.special_ids & set(ids(generation, text, add_special_tokens=False))
    assert ids(generation, text)[:2] == tokenizer.prefix
    assert ids(generation, text)[2:] == ids(generation, text, add_special_tokens=False)


@given(text=TEXTS)
def test_a_text_comes_back_but_for_the_mark_that_stands_for_a_space(text: str) -> None:
    assert glm_tokenizer().decode(ids(2, text)) == text.replace("▁", " ")


@given(text=TEXTS)
def test_no_user_of_a_chat_can_write_a_role(text: str) -> None:
    def special(content: str) -> list[int]:
        chat: Any = [{"role": "user", "content": content}]
        out = glm_tokenizer(3).apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        return [i for i in out if i in glm_tokenizer(3).special_ids]

    assert special(text) == special("x")


def test_special_tokens_have_names_that_the_third_generation_shows() -> None:
    two, three = glm_tokenizer(), glm_tokenizer(3)
    spelled = [*three.prefix, three.end_ids[0], *ids(3, "好")[2:], 2]
    assert three.decode(spelled) == "[gMASK]sop<|user|> 好"
    assert three.decode(spelled, skip_special_tokens=True) == "好"
    assert two.decode([*two.prefix, *ids(2, "好")[2:], 2]) == "好"
    assert two.convert_ids_to_tokens([*two.prefix, 2]) == ["[gMASK]", "sop", "</s>"]


def test_ids_beyond_the_vocabulary_have_no_text() -> None:
    """The model's head is wider than the vocabulary, and may choose one."""
    tokenizer = glm_tokenizer()
    assert tokenizer.decode([*ids(2, "好"), len(tokenizer), len(tokenizer) + 99]) == "好"


def test_an_empty_piece_ends_a_run_of_bytes() -> None:
    tokenizer = glm_tokenizer()
    a, b, c = (3 + byte for byte in "丼".encode())  # the first pieces are the bytes
    assert tokenizer.decode([a, b, c]) == "丼"
    assert tokenizer.decode([a, b, 2, c]) == "\ufffd" * 3


def test_a_batch_is_padded_on_the_left_with_its_mask_and_positions() -> None:
    batch = glm_tokenizer()(["a", "a b c"], padding=True, return_tensors="pt")
    short, long = batch["attention_mask"].sum(1).tolist()
    assert short < long == batch["input_ids"].shape[1]
    assert batch["position_ids"][0].tolist() == [*[0] * (long - short), *range(short)]
    assert batch["input_ids"][0, : long - short].tolist() == [0] * (long - short)
    assert isinstance(batch["position_ids"], torch.Tensor)


def test_padding_again_keeps_positions_and_the_right_side_can_be_asked_for() -> None:
    tokenizer = glm_tokenizer()
    one = tokenizer("a")
    again = tokenizer.pad([dict(one)], padding="max_length", max_length=len(one["input_ids"]) + 2)
    assert again["position_ids"][0] == [0, 0, *one["position_ids"]]
    right = tokenizer(["a", "a b c"], padding=True, padding_side="right")
    assert right["position_ids"][0][-1] == 0 == right["attention_mask"][0][-1]


def test_truncation_counts_the_prefix() -> None:
    cut = glm_tokenizer()("a b c d e f g h", truncation=True, max_length=5)
    assert cut["input_ids"] == ids(2, "a b c d e f g h")[:5]


def test_a_chat_that_is_not_to_be_answered_ends_before_the_answer() -> None:
    two, three = glm_tokenizer(), glm_tokenizer(3)
    assert two.apply_chat_template(TALK[:1], tokenize=False) == "[Round 1]\n\n问：你好\n\n"
    assert two.apply_chat_template(TALK[:2], tokenize=False).endswith("2-6B。\n\n")
    assert three.apply_chat_template(TALK[:1], tokenize=False) == "<|user|>\n你好"


def test_several_chats_are_padded_as_a_batch() -> None:
    tokenizer = glm_tokenizer()
    both = tokenizer.apply_chat_template(
        [TALK[:1], TALK], add_generation_prompt=True, padding=True, return_tensors="pt"
    )
    assert both["input_ids"].shape == both["position_ids"].shape
    alone = tokenizer.apply_chat_template(TALK[:1], add_generation_prompt=True, return_dict=False)
    assert both["input_ids"][0, -len(alone) :].tolist() == alone


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "observation", "content": "1"}, "role is 'observation'; use one of system"),
        ({"role": "user", "content": [1]}, r"content is \[1\]; it must be a text"),
    ],
)
def test_a_message_that_cannot_be_written_down_is_refused(
    message: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        glm_tokenizer().apply_chat_template([message])


def test_saving_copies_the_vocabulary_and_remembers_the_generation(tmp_path: Path) -> None:
    glm_tokenizer(3).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == vocab_file().read_bytes()
    again: Any = ChatGLMTokenizer.from_pretrained(tmp_path)
    assert again.generation == 3
    assert again.encode("</s>people") == ids(3, "</s>people")
    again.save_pretrained(tmp_path)  # onto itself


def test_copies_read_and_write_alike() -> None:
    for copied in (copy.deepcopy(glm_tokenizer()), pickle.loads(pickle.dumps(glm_tokenizer()))):
        assert copied.encode("你好 people") == ids(2, "你好 people")


def test_what_a_checkpoint_says_of_its_own_tokens_changes_nothing() -> None:
    """Some revisions of ChatGLM3 list them, and would have them found in texts."""
    tokenizer = ChatGLMTokenizer(
        vocab_file(), 3, additional_special_tokens=["sop"], eos_token="<|user|>", remove_space=False
    )
    assert tokenizer.encode("philosophy sop") == ids(3, "philosophy sop")
    assert tokenizer.eos_token_id == 2


def test_a_pad_token_may_be_chosen() -> None:
    tokenizer = ChatGLMTokenizer(vocab_file())
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer(["a", "a b c"], padding=True)["input_ids"][0][0] == 2


def test_new_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="takes no new tokens"):
        ChatGLMTokenizer(vocab_file()).add_tokens(["<new>"])


def test_a_vocabulary_that_was_cut_anywhere_is_one_sentence(tmp_path: Path) -> None:
    whole, file = vocab_file().read_bytes(), tmp_path / "tokenizer.model"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(StartError, match="tokenizer.model (is no SentencePiece|was cut short)"):
            ChatGLMTokenizer(file)


def test_a_vocabulary_that_is_none_or_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(StartError, match="no SentencePiece model or a damaged one; fetch it again"):
        ChatGLMTokenizer(tmp_path / "tokenizer.model")
    with pytest.raises(StartError, match="cannot be read: No such file"):
        ChatGLMTokenizer(tmp_path / "other.model")


def test_a_generation_that_there_is_not_is_refused() -> None:
    with pytest.raises(StartError, match="generation is 2 or 3"):
        ChatGLMTokenizer(vocab_file(), generation=1)
    with pytest.raises(StartError, match="encode_special_tokens"):
        ChatGLMTokenizer(vocab_file(), encode_special_tokens=True)


@given(TEXTS)
def test_a_texts_ids_tell_their_bytes(text: str) -> None:
    """All but the sign that SentencePiece itself has for a space; the first one begins a text."""
    tokenizer = glm_tokenizer()
    spelled = b"".join(map(tokenizer.spelled, ids(2, text, add_special_tokens=False)))
    assert spelled.decode() == (f" {text}" if text else "").replace("▁", " ")


def test_what_has_no_text_has_no_bytes() -> None:
    tokenizer = glm_tokenizer(3)
    assert {tokenizer.spelled(i) for i in tokenizer.special_ids} == {b""}
    assert tokenizer.spelled(len(tokenizer)) == tokenizer.spelled(-1) == b""


@given(TEXTS, TEXTS)
def test_the_ids_within_a_text_go_on_from_another_one(before: str, text: str) -> None:
    tokenizer = glm_tokenizer()
    joined = [*ids(2, f"{before}.", add_special_tokens=False), *tokenizer.ids_within(text)]
    assert tokenizer.decode(joined) == f"{before}.{text}".replace("▁", " ")
