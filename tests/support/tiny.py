"""Language models of a few thousand random weights, and tokenizers to go with them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from danlu.adapters.models.loading import LoadedModel

from .card import on_card, twin

CORPUS = (
    "The furnace is fired up in the morning, and the morning is cold. "
    "What is in the box? A cat is in the box. 12 cats and 34 dogs, 2024. "
    "  two spaces\n\nand a new paragraph; it's fine, isn't it?",
    "丹炉是一座炉子。早上好，今天天气很好，我们去公园散步。",
    "def fire(x):\n    return x + 1\n",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
END = 2  # the id of <|im_end|>, and of </s>
CONTEXT = 128


@cache
def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As GPT-2's: a token is a run of bytes, often a part of a character. ChatML, no prefix."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return _tokenizer(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
    )


@cache
def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2's: a leading space, single bytes for unknown characters, <s> before each text."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(CORPUS, BpeTrainer(vocab_size=300, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += sorted(learned["vocab"], key=learned["vocab"].get)
    backend = Tokenizer(
        models.BPE(
            {word: i for i, word in enumerate(words)},
            [tuple(merge) for merge in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens([AddedToken(word, special=True) for word in words[:3]])
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _tokenizer(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def _tokenizer(**facts: Any) -> PreTrainedTokenizerFast:
    kind: Any = PreTrainedTokenizerFast  # its constructor is not annotated
    tokenizer: PreTrainedTokenizerFast = kind(clean_up_tokenization_spaces=False, **facts)
    return tokenizer


def tiny_config(**changes: Any) -> LlamaConfig:
    facts: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": END,
        "pad_token_id": 0,
    }
    return LlamaConfig(**{**facts, **changes})


def random_model(config: Any, seed: int = 0) -> PreTrainedModel:
    """The causal language model of `config`, with weights large enough that it does not drone."""
    torch.default_generator.manual_seed(seed)
    factory: Any = AutoModelForCausalLM  # not annotated
    model: PreTrainedModel = factory.from_config(config)
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.3)
    model.train(False)
    model.requires_grad_(False)
    return model


@cache
def tiny_model() -> PreTrainedModel:
    return random_model(tiny_config())


def tiny_loaded(**changes: Any) -> LoadedModel:
    """The tiny Llama with the byte-level tokenizer, as if loaded from a directory: on the card."""
    facts: dict[str, Any] = {
        "model": on_card(changes.pop("model", None) or twin(tiny_model)),
        "tokenizer": byte_level_tokenizer(),
        "context_length": CONTEXT,
        "end_ids": frozenset({END}),
        "vocabulary": 400,
    }
    return LoadedModel(**{**facts, **changes})


def save_tiny(directory: Path) -> Path:
    """The tiny Llama as a Hugging Face directory."""
    tiny_model().save_pretrained(directory)
    byte_level_tokenizer().save_pretrained(directory)
    return directory
