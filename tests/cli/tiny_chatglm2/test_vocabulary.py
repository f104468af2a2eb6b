"""The tiny vocabulary behaves as the published one does."""

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from danlu.adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from danlu.cli.tiny_chatglm2.dialogues import dialogues
from danlu.cli.tiny_chatglm2.vocabulary import PIECES, vocabulary

KNOWN = dialogues()


@pytest.fixture(scope="module")
def content() -> bytes:
    return vocabulary(KNOWN)


@pytest.fixture(scope="module")
def pieces(content: bytes) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_proto=content)


def test_it_is_the_same_for_the_same_dialogues(content: bytes) -> None:
    assert vocabulary(KNOWN) == content
    assert vocabulary(KNOWN[5:]) != content


def test_it_records_the_published_ones_settings(content: bytes) -> None:
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(content)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    assert trainer.model_type == trainer.BPE
    assert trainer.byte_fallback and trainer.split_digits and trainer.allow_whitespace_only_pieces
    assert (trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id) == (0, 1, 2, -1)
    assert trainer.max_sentencepiece_length == 16
    assert trainer.character_coverage == pytest.approx(0.9999)
    assert (normalizer.name, normalizer.precompiled_charsmap) == ("identity", b"")
    assert normalizer.add_dummy_prefix and not normalizer.remove_extra_whitespaces


def test_chinese_is_in_the_vocabulary_and_an_emoji_is_spelled_in_bytes(
    pieces: SentencePieceProcessor,
) -> None:
    assert pieces.get_piece_size() == PIECES
    assert pieces.encode("神经处理器，你好。", out_type=str)[0].startswith("▁")
    used = {c for dialogue in KNOWN for pair in dialogue for text in pair for c in text}
    chinese = {c for c in used if "\u4e00" <= c <= "\u9fff"}
    assert {c for c in chinese if pieces.is_unknown(pieces.piece_to_id(c))} == set()
    assert pieces.encode("👋", out_type=str) == ["▁", "<0xF0>", "<0x9F>", "<0x91>", "<0x8B>"]
    assert pieces.encode("\n", out_type=str) == ["▁", "<0x0A>"]


def test_a_piece_is_a_word_and_not_a_sentence(pieces: SentencePieceProcessor) -> None:
    answers = [answer for dialogue in KNOWN for _, answer in dialogue]
    tokens = sum(len(pieces.encode(answer)) for answer in answers)
    assert 1.0 < sum(map(len, answers)) / tokens < 2.0  # the published one's is 1.6 or so


def test_every_text_comes_back_as_it_was(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    tokenizer = ChatGLMTokenizer(tmp_path / "tokenizer.model")
    for text in (text for dialogue in KNOWN for exchange in dialogue for text in exchange):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert len(tokenizer) == PIECES + 5
