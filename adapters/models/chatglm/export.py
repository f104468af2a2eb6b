"""Writes a model of this family as a directory: in its original layout, or in transformers' own."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GlmForCausalLM

from ..directory import new_directory
from .config import BASE, NATIVE, Description
from .names import ROTARY, Part, joined, parts
from .native import description_of, generation_config, original_config

SHARD = 2_000_000_000  # bytes; the published ones are about as large
TOKENIZER = "tokenizer.model"
CODE_FILES = (  # the original's own, without which stock transformers cannot load the layout
    "configuration_chatglm.py",
    "modeling_chatglm.py",
    "quantization.py",
    "tokenization_chatglm.py",
)


def export_original(
    model: GlmForCausalLM,
    tokenizer_model: Path,
    out: Path,
    *,
    generation: int | None = None,
    shard_bytes: int = SHARD,
    code: Path | None = None,
) -> None:
    """Write `model` to the new directory `out` as the original's authors publish theirs.

    `generation` (2 or 3) is for a model whose configuration does not record it. The original's
    Python files are copied from the directory `code`, as far as they lie there. Takes the memory
    of one shard; raises StartError for a model that the layout cannot express, or if `out` cannot
    be written.
    """
    described = description_of(model.config, generation)
    of = replace(described, dtype=str(model.dtype).removeprefix("torch."))
    with new_directory(out) as made:
        _write_weights(model, of, made, shard_bytes)
        shutil.copyfile(tokenizer_model, made / TOKENIZER)
        for name in CODE_FILES:
            if code is not None and (code / name).is_file():
                shutil.copyfile(code / name, made / name)
        _write_json(made / "tokenizer_config.json", _tokenizer_config(of))
        _write_json(made / "config.json", original_config(of))


def export_native(
    model: GlmForCausalLM,
    tokenizer_model: Path,
    out: Path,
    *,
    generation: int | None = None,
    shard_bytes: int = SHARD,
) -> None:
    """Write `model` to the new directory `out` as transformers' own `glm`; otherwise as above.

    What makes it a ChatGLM is noted in the model's configurations, and so in the directory's.
    """
    of = description_of(model.config, generation)
    setattr(model.config, NATIVE, of.generation)
    model.generation_config = generation_config(of)
    with new_directory(out) as made:
        model.save_pretrained(made, max_shard_size=shard_bytes)
        shutil.copyfile(tokenizer_model, made / TOKENIZER)
        _write_json(made / "tokenizer_config.json", {"tokenizer_class": "ChatGLMTokenizer"})


def _write_weights(model: GlmForCausalLM, of: Description, out: Path, limit: int) -> None:
    weights = dict(model.named_parameters())
    table = parts(of)
    shards = planned({name: _bytes(part, weights) for name, part in table.items()}, limit)
    where: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = "pytorch_model.bin"
        if len(shards) > 1:
            file = f"pytorch_model-{number:05}-of-{len(shards):05}.bin"
        tensors = {name: _original(table[name], weights, of) for name in names}
        if number == 1:
            tensors[ROTARY] = _rotary(of).to(model.dtype)
        torch.save(tensors, out / file)
        where.update(dict.fromkeys(tensors, file))
    if len(shards) > 1:
        total = sum(_bytes(part, weights) for part in table.values())
        index = {"metadata": {"total_size": total}, "weight_map": where}
        _write_json(out / "pytorch_model.bin.index.json", index)


def planned(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """The names by shard, in their order; a shard has at most `limit` bytes or one tensor."""
    shards: list[list[str]] = []
    taken = 0
    for name, size in sizes.items():
        if not shards or taken + size > limit:
            shards.append([])
            taken = 0
        shards[-1].append(name)
        taken += size
    return shards


def _bytes(part: Part, weights: Mapping[str, torch.Tensor]) -> int:
    return sum(weights[native].nbytes for native in part.natives)


def _original(part: Part, weights: Mapping[str, torch.Tensor], of: Description) -> torch.Tensor:
    """On the host, and with memory of its own: torch.save writes all that a view looks into."""
    natives = [weights[native].detach().cpu() for native in part.natives]
    return natives[0].clone() if len(natives) == 1 else joined(natives, of)


def _rotary(of: Description) -> torch.Tensor:
    """The frequencies that the original stores, and its code expects to find."""
    rotated = of.head_size // 2
    return 1.0 / BASE ** (torch.arange(0, rotated, 2, dtype=torch.float32) / rotated)


def _tokenizer_config(of: Description) -> dict[str, Any]:
    return {
        "name_or_path": f"danlu/chatglm{of.generation}",
        "tokenizer_class": "ChatGLMTokenizer",
        "remove_space": False,
        "do_lower_case": False,
        "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]},
    }


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
