"""The models that are measured: a small real one, and synthetic ChatGLM2s of random weights.

All are directories that any transformers from 4.57 on reads, stock FastChat's as well as ours.
"""

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GlmConfig, GlmForCausalLM, PreTrainedTokenizerBase

from danlu.adapters.cache import cache_root, kept
from danlu.cli.bench.prompts import words
from danlu.cli.demo import demo_model

from .contest import Prompt

GLM = "synthetic-glm-288m"
TRAINED = "synthetic-glm-7m"
VOCABULARY = 65024  # ChatGLM2's
FEW_WORDS = 640  # of the one that is trained
END = 2  # ChatGLM2's end token
SPREAD = 0.02  # of the weights


def synthetic_glm(dtype: torch.dtype = torch.bfloat16) -> GlmForCausalLM:
    """ChatGLM2's layout with 12 layers of 1024, 288 M random weights, the same ones every time."""
    return chatglm2(1024, 3424, 12, VOCABULARY, dtype)


def chatglm2(
    width: int, inner: int, layers: int, vocabulary: int, dtype: torch.dtype
) -> GlmForCausalLM:
    """Its layout in heads of 64, with random weights."""
    config = GlmConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=2,
        head_dim=64,
        rms_norm_eps=1e-5,
        max_position_embeddings=32768,
        attention_bias=True,
        eos_token_id=END,
        pad_token_id=0,
        initializer_range=SPREAD,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GlmForCausalLM(config)
    model.to(dtype)  # type: ignore[arg-type]
    model.train(False)
    return model


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, fetched and made once, as `danlu up --demo` does."""
    return demo_model(cache_root(os.environ), say=print)


def glm() -> Path:
    """The synthetic model as a directory, made once; its words are `w3`, `w4` and so on."""
    return kept(cache_root(os.environ), GLM, _make_glm, say=print)


def glm_to_train() -> Path:
    """A smaller one in float32, whose output layer has ChatGLM2-6B's share of the arithmetic."""
    return kept(cache_root(os.environ), TRAINED, _make_trained, say=print)


@dataclass(frozen=True, slots=True)
class Contest:
    """A model as it is measured: where it lies, and how a text of `count` tokens is made for it."""

    directory: Callable[[], Path]
    text: Callable[[int, random.Random], str]


def _any_words(count: int, chance: random.Random) -> str:
    return " ".join(f"w{chance.randrange(END + 1, VOCABULARY)}" for _ in range(count))


MODELS = {"smollm2": Contest(smollm2, words), "glm": Contest(glm, _any_words)}


def prompts(
    tokenizer: PreTrainedTokenizerBase,
    contest: Contest,
    count: int,
    size: int,
    chance: random.Random,
) -> tuple[Prompt, ...]:
    """`count` different prompts of exactly `size` tokens, whose text and ids are each other's."""
    return tuple(_prompt(tokenizer, contest, size, chance) for _ in range(count))


def tokenizer_of(directory: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory)
    return tokenizer


def _prompt(
    tokenizer: PreTrainedTokenizerBase, contest: Contest, size: int, chance: random.Random
) -> Prompt:
    while True:
        ids = tokenizer(contest.text(size, chance))["input_ids"][:size]
        text = str(tokenizer.decode(ids))
        if len(ids) == size and tokenizer(text)["input_ids"] == ids:
            return Prompt(text, tuple(ids))


def _make_glm(making: Path) -> Path:
    return saved(synthetic_glm(), making / GLM)


def _make_trained(making: Path) -> Path:
    return saved(chatglm2(512, 1712, 2, FEW_WORDS, torch.float32), making / TRAINED)


def saved(model: GlmForCausalLM, out: Path) -> Path:
    """A directory of it, with words for its ids."""
    model.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    rope = config["rope_parameters"]
    # transformers 4 reads these two, 5 reads rope_parameters
    config |= {"rope_theta": rope["rope_theta"], "partial_rotary_factor": 0.5}
    (out / "config.json").write_text(json.dumps(config, indent=2))
    _save_words(out, config["vocab_size"])
    return out


def _save_words(out: Path, count: int) -> None:
    """A tokenizer that takes and gives a word for each id, so that any answer is text."""
    spelled = ["<unk>", "w1", "<eos>", *(f"w{number}" for number in range(END + 1, count))]
    vocabulary = {word: number for number, word in enumerate(spelled)}
    plain: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    (out / "tokenizer.json").write_text(json.dumps(plain))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "pad_token": "<unk>",
        "eos_token": "<eos>",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings))
