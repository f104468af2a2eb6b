"""Adapters for the tiny models, as they lie on disk, and what the original makes of a prefix."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import DynamicCache


def original_prefix(
    directory: Path,
    length: int,
    *,
    layers: int = 2,
    heads: int = 2,
    size: int = 8,
    inner: int = 0,
    std: float = 1.0,
    seed: int = 1,
) -> tuple[Tensor, Tensor]:
    """A checkpoint as P-Tuning v2 saves it, through a projection if `inner` channels are given.

    Its keys and values [layers, heads, length, size], computed by the original's own formula.
    """
    torch.default_generator.manual_seed(seed)
    width = layers * 2 * heads * size
    tensors = {"embedding.weight": std * torch.randn(length, width)}
    numbers = tensors["embedding.weight"]
    if inner:
        projection = nn.Sequential(nn.Linear(width, inner), nn.Tanh(), nn.Linear(inner, width))
        projection.requires_grad_(False)
        tensors |= {f"trans.{name}": value for name, value in projection.state_dict().items()}
        numbers = 3 * projection(numbers)
        tensors["trans.2.weight"] *= 3
        tensors["trans.2.bias"] *= 3
    save_prefix(directory, tensors, pre_seq_len=length, prefix_projection=bool(inner))
    by_layer = numbers.view(length, 2 * layers, heads, size).permute(1, 2, 0, 3)
    return by_layer[0::2], by_layer[1::2]


def save_prefix(directory: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    named = {f"transformer.prefix_encoder.{name}": value for name, value in tensors.items()}
    torch.save(named, directory / "pytorch_model.bin")
    said = {"model_type": "chatglm", "multi_query_group_num": 2, **config}
    (directory / "config.json").write_text(json.dumps(said), encoding="utf-8")
    return directory


def prefixed_logits(model: Any, keys: Tensor, values: Tensor, ids: list[int]) -> Tensor:
    """What the original computes: the prefix in the cache, positions from 0. [tokens, words]"""
    cache = DynamicCache(config=model.config)
    for layer, (key, value) in enumerate(zip(keys, values, strict=True)):
        cache.update(key.unsqueeze(0), value.unsqueeze(0), layer)
    length, count = keys.shape[2], len(ids)
    with torch.inference_mode():
        logits: Tensor = model(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, length + count, dtype=torch.long),
            position_ids=torch.arange(count).unsqueeze(0),
            past_key_values=cache,
        ).logits[0]
    return logits


def plain_logits(model: Any, ids: list[int]) -> Tensor:
    """What a model says of a text that it is given alone: [tokens, words], on the host."""
    with torch.inference_mode():
        logits: Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits[0]
    return logits.cpu()


def lora_files(directory: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    """A LoRA as it lies on disk, by whatever names."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", **config}
    (directory / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    return directory


def original_lora(
    directory: Path,
    *,
    layers: int = 2,
    hidden: int = 32,
    inner: int = 24,
    qkv: int = 64,
    rank: int = 4,
    std: float = 0.2,
    seed: int = 1,
) -> dict[str, tuple[Tensor, Tensor]]:
    """A LoRA of random matrices by the original's names, saved; A and B by module."""
    shapes = {
        "self_attention.query_key_value": (qkv, hidden),
        "self_attention.dense": (hidden, hidden),
        "mlp.dense_h_to_4h": (2 * inner, hidden),
        "mlp.dense_4h_to_h": (hidden, inner),
    }
    torch.default_generator.manual_seed(seed)
    matrices = {
        f"transformer.encoder.layers.{layer}.{name}": (
            std * torch.randn(rank, columns),
            std * torch.randn(rows, rank),
        )
        for layer in range(layers)
        for name, (rows, columns) in shapes.items()
    }
    tensors = {}
    for module, (down, up) in matrices.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = down
        tensors[f"base_model.model.{module}.lora_B.weight"] = up
    lora_files(directory, tensors, r=rank, lora_alpha=2 * rank)
    return matrices


def adapters_for(model: Path, home: Path) -> Path:
    """Three adapters that change what the ChatGLM in the directory `model` says: `shouter` and
    `whisperer`, which are LoRA, and the prefix `mood`."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    size, groups = config["kv_channels"], config["multi_query_group_num"]
    layers = config["num_layers"]
    for seed, name in enumerate(("shouter", "whisperer")):
        original_lora(
            home / name,
            layers=layers,
            hidden=config["hidden_size"],
            inner=config["ffn_hidden_size"],
            qkv=(config["num_attention_heads"] + 2 * groups) * size,
            seed=seed,
        )
    original_prefix(home / "mood", 5, layers=layers, heads=groups, size=size, std=10)
    return home
