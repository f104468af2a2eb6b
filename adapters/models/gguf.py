"""Reads a GGUF file as a dense transformers model, and writes one out as a plain directory.

Unpacked on loading: what comes back is an ordinary model, whose weights are as exact as the file's
quantisation left them. transformers forgets two things that are put right here: which tokenizers
split numbers into single digits, and the older spelling of the rotary base, without which
transformers 4 silently takes another one and answers differently.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import StartError
from .checkpoint import is_gguf

log = logging.getLogger(__name__)

# `tokenizer.ggml.pre` of the tokenizers that take every digit as a token of its own.
SINGLE_DIGITS = frozenset(
    {"codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder"}
)
# Those that split as GPT-2 does, and so as transformers does where it knows no better.
LIKE_GPT2 = frozenset({"", "default", "gpt-2", "gpt2", "mpt", "olmo", "jais", "trillion"})


def load_gguf(path: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in `dtype` on the CPU and its tokenizer; raises StartError for a damaged file."""
    tokenizer = load_gguf_tokenizer(path)
    with _names_worked_out_once():
        model = AutoModelForCausalLM.from_pretrained(
            **_where(path), dtype=dtype, quantization_config=GgufConfig(dequantize=True)
        )
    _forget_quantizer(model)
    return model, tokenizer


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in it; raises StartError for a damaged file."""
    if not is_gguf(path):
        raise StartError(f"{path} is no GGUF file; give one, or a Hugging Face model directory")
    kind = _pre_tokenizer(path)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(**_where(path))
    _correct_splitting(tokenizer, kind)
    return tokenizer


def _where(path: Path) -> dict[str, Any]:
    return {
        "pretrained_model_name_or_path": str(path.parent),
        "gguf_file": path.name,
        "local_files_only": True,
    }


def save_as_directory(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path
) -> None:
    """Write a directory that transformers 4 and 5 load alike."""
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    _amend(out / "config.json", _older_spelling(getattr(model.config, "rope_parameters", None)))
    _amend(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


@contextmanager
def _names_worked_out_once() -> Iterator[None]:
    """transformers asks gguf for the table of all tensor names once for every submodule of a model.

    They are hundreds and the table is the same: a third of the loading time.
    """
    ask = gguf.get_tensor_name_map
    gguf.get_tensor_name_map = lru_cache(ask)
    try:
        yield
    finally:
        gguf.get_tensor_name_map = ask


def _older_spelling(rope: dict[str, Any] | None) -> dict[str, Any]:
    """transformers 4's names for transformers 5's rotary parameters; it knows only those."""
    if not rope or "rope_theta" not in rope:
        return {}
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    unscaled = scaling.get("rope_type", "default") == "default"
    return {"rope_theta": rope["rope_theta"], "rope_scaling": None if unscaled else scaling}


def _pre_tokenizer(path: Path) -> str:
    """Reads every part of the header, and finds out whether the weights behind it are all there."""
    try:
        field = gguf.GGUFReader(path).get_field("tokenizer.ggml.pre")
    except Exception as exc:  # whatever reading at a wrong place comes to
        raise StartError(f"{path} is a damaged GGUF file; fetch it again") from exc
    return str(field.contents()) if field is not None else ""


def _correct_splitting(tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    backend = tokenizer.backend_tokenizer
    if kind in SINGLE_DIGITS:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
        )
    elif kind not in LIKE_GPT2 and isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        log.warning("unknown pre-tokenizer, numbers and spaces may be split wrongly name=%s", kind)


def _forget_quantizer(model: PreTrainedModel) -> None:
    """The weights are unpacked; what still says otherwise would refuse to save them."""
    for name in ("hf_quantizer", "is_quantized"):
        if name in vars(model):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _amend(path: Path, facts: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **facts}, indent=2) + "\n", encoding="utf-8")
