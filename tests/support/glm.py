"""A small ChatGLM vocabulary, a model of random weights to go with it, and the golden folder."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceTrainer

import danlu
from danlu.adapters.models.chatglm.tokenizer import ChatGLMTokenizer

from .tiny import CORPUS

GOLDEN = Path(danlu.__file__).parent.parent / "shared/reference/golden/chatglm2/tokenizer"
DIALOGUE = (
    "[Round 1]\n\n问：你好\n\n答：你好👋！我是人工智能助手，很高兴见到你，欢迎问我任何问题。",
    "晚上睡不着应该怎么办？ 1. 保持规律的睡眠 2. 睡前不要喝咖啡 3. 放松身心",
    "people and philosophy; a scope and its opera. 训练时间是2023年。",
    "you are ChatGLM: get_weather(city='北京') -> 10 degrees,    four   spaces",
)
ODD = ("</s>", "<unk>", "sop", "eop", "people", "[gMASK]", "<|user|>", "<0x0A>", "▁", "  ", "\n")


@cache
def vocab_file() -> Path:
    """A SentencePiece model that is trained as ChatGLM2's was; made once, in a second."""
    folder = Path(tempfile.mkdtemp(prefix="danlu-tiny-spm-"))
    text = folder / "corpus.txt"
    text.write_text("\n".join([*CORPUS, *DIALOGUE] * 4), encoding="utf-8")
    SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        max_sentencepiece_length=16,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


@cache
def glm_tokenizer(generation: int = 2) -> ChatGLMTokenizer:
    return ChatGLMTokenizer(vocab_file(), generation=generation)


@cache
def golden_folder() -> Path:
    """What the original tokenizer made of many texts; skips where it is not at hand."""
    if not (GOLDEN / "reference.json").is_file():
        pytest.skip(f"the original tokenizer's golden data is not in {GOLDEN}")
    return GOLDEN


@cache
def golden() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((golden_folder() / "reference.json").read_text("utf-8"))
    return data


@cache
def golden_tokenizer(generation: int = 2) -> ChatGLMTokenizer:
    return ChatGLMTokenizer(golden_folder() / "tokenizer.model", generation=generation)
