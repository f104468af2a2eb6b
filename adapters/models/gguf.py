"""Reads a GGUF file as a dense transformers model, and writes one out as a plain directory.

Unpacked on loading: what comes back is an ordinary model, whose weights are as exact as the file's
quantisation left them. transformers forgets two things that are put right here: which tokenizers
split numbers into single digits, and the older spelling of the rotary base, without which
transformers 4 silently takes another one and answers differently.
"""

import json
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import StartError

MAGIC = b"GGUF"

# `tokenizer.ggml.pre` of the tokenizers that take every digit as a token of its own.
SINGLE_DIGITS = frozenset(
    {"codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder"}
)


def is_gguf(path: Path) -> bool:
    """Whether `path` is a file that starts as a GGUF does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def load_gguf(path: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in `dtype` on the CPU and its tokenizer; raises StartError if it is no GGUF."""
    if not is_gguf(path):
        raise StartError(f"{path} is no GGUF file; give one, or a Hugging Face model directory")
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    if _pre_tokenizer(path) in SINGLE_DIGITS:
        _split_digits(tokenizer)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=dtype, quantization_config=GgufConfig(dequantize=True)
    )
    _forget_quantizer(model)
    return model.eval(), tokenizer


def save_as_directory(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path
) -> None:
    """Write a directory that transformers 4 and 5 load alike."""
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    rope = getattr(model.config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        _amend(out / "config.json", {"rope_theta": rope["rope_theta"], "rope_scaling": None})
    _amend(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


def _pre_tokenizer(path: Path) -> str:
    field = GGUFReader(path).get_field("tokenizer.ggml.pre")
    return str(field.contents()) if field is not None else ""


def _split_digits(tokenizer: PreTrainedTokenizerBase) -> None:
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )


def _forget_quantizer(model: PreTrainedModel) -> None:
    """The weights are unpacked; what still says otherwise would refuse to save them."""
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _amend(path: Path, facts: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **facts}, indent=2) + "\n", encoding="utf-8")
