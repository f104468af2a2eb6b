"""A small ChatGLM vocabulary, a model of random weights to go with it, and the golden folder."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import GlmConfig, PreTrainedModel

import danlu
from danlu.adapters.models.chatglm.export import export_original
from danlu.adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from danlu.adapters.models.loading import LoadedModel
from danlu.cli.tiny_chatglm2.vocabulary import trained

from .card import on_card, twin
from .tiny import CORPUS, random_model
from .tiny_glm import tiny_glm

GOLDEN = Path(danlu.__file__).parent.parent / "shared/reference/golden/chatglm2/tokenizer"
DIALOGUE = (
    "[Round 1]\n\n问：你好\n\n答：你好👋！我是人工智能助手，很高兴见到你，欢迎问我任何问题。",
    "晚上睡不着应该怎么办？ 1. 保持规律的睡眠 2. 睡前不要喝咖啡 3. 放松身心",
    "people and philosophy; a scope and its opera. 训练时间是2023年。",
    "you are ChatGLM: get_weather(city='北京') -> 10 degrees,    four   spaces",
)
PADDED = 640  # rows of the embedding: more than there are ids, as in the real model
CONTEXT = 256
END = 2  # the id of </s>
ODD = ("</s>", "<unk>", "sop", "eop", "people", "[gMASK]", "<|user|>", "<0x0A>", "▁", "  ", "\n")


@cache
def vocab_file() -> Path:
    """A SentencePiece model that is trained as ChatGLM2's was; made once, in a second."""
    folder = Path(tempfile.mkdtemp(prefix="danlu-tiny-spm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "tokenizer.model"
    file.write_bytes(trained([*CORPUS, *DIALOGUE] * 4, pieces=600, coverage=0.98))
    return file


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


def glm_config(**changes: Any) -> GlmConfig:
    """As ChatGLM2's in small: grouped heads, half of each rotated, more rows than ids."""
    facts: dict[str, Any] = {
        "vocab_size": PADDED,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "attention_bias": True,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 0,
        "eos_token_id": END,
        "bos_token_id": None,
    }
    return GlmConfig(**{**facts, **changes})


@cache
def glm_model() -> PreTrainedModel:
    return random_model(glm_config())


def glm_loaded(generation: int = 2, **changes: Any) -> LoadedModel:
    """Random weights with the small vocabulary, as if loaded from a checkpoint: on the card."""
    tokenizer = glm_tokenizer(generation)
    facts: dict[str, Any] = {
        "model": on_card(changes.pop("model", None) or twin(glm_model)),
        "tokenizer": tokenizer,
        "context_length": CONTEXT,
        "end_ids": frozenset(tokenizer.end_ids),
        "vocabulary": PADDED,
    }
    return LoadedModel(**{**facts, **changes})


def save_glm(directory: Path, generation: int = 2) -> Path:
    """A tiny model in the original layout, with the small vocabulary."""
    model = tiny_glm(vocabulary=PADDED, positions=CONTEXT, generation=generation)
    export_original(model, vocab_file(), directory)
    return directory
