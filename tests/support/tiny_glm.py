"""ChatGLM models of a few thousand random weights, and their directories in the original layout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GlmForCausalLM

from danlu.adapters.models.chatglm.config import Description, described
from danlu.adapters.models.chatglm.export import export_original
from danlu.adapters.models.chatglm.names import parts
from danlu.adapters.models.chatglm.native import generation_config, native_config

DESCRIBED = Description(
    generation=2,
    vocabulary=96,
    layers=2,
    hidden=32,
    inner=24,
    heads=4,
    groups=2,
    head_size=8,
    per_head=False,
    qkv_bias=True,
    epsilon=1e-5,
    positions=64,
    dtype="float32",
)
# Sizes that whole groups of 4 bits fit into.
FITTING = {"vocabulary": 128, "hidden": 128, "head_size": 32, "inner": 96}
IDS = torch.tensor([[5, 17, 3, 80, 41, 41, 9]])


def tiny_glm(seed: int = 0, **changes: Any) -> GlmForCausalLM:
    """A model of random weights; `changes` are fields of its description."""
    of = replace(DESCRIBED, **changes)
    torch.default_generator.manual_seed(seed)
    kind: Any = GlmForCausalLM  # its constructor is not annotated
    model: GlmForCausalLM = kind(native_config(of))
    for weights in model.parameters():
        torch.nn.init.normal_(weights, mean=0.1, std=0.3)
    model.generation_config = generation_config(of)
    model.train(False)
    return model


def save_original(directory: Path, model: GlmForCausalLM | None = None, **how: Any) -> Path:
    """`model` in the original layout, with a tokenizer.model that is none."""
    vocabulary = directory.parent / "some.model"
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_bytes(b"pieces")
    export_original(model or tiny_glm(), vocabulary, directory, **how)
    return directory


def quantised(path: Path, bits: int, **changes: Any) -> Path:
    """A tiny model whose integers are as wide as `bits`, in the original layout."""
    save_original(path, tiny_glm(**{**FITTING, **changes}))
    config = json.loads((path / "config.json").read_text())
    file = path / "pytorch_model.bin"
    tensors = torch.load(file, weights_only=True)
    for name, part in parts(described(config)).items():
        if part.quantised:
            tensors[name], tensors[f"{name}_scale"] = integers(tensors[name].float(), bits)
    torch.save(tensors, file)
    (path / "config.json").write_text(json.dumps({**config, "quantization_bit": bits}))
    return path


def integers(weight: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    scale = (weight.abs().amax(1) / (2 ** (bits - 1) - 1)).half()
    rows = (weight / scale.float()[:, None]).round().to(torch.int8)
    return (rows if bits == 8 else (rows[:, ::2] << 4) | (rows[:, 1::2] & 15)), scale


def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    """What the model says of `ids` [batch, tokens]: [batch, tokens, vocabulary]."""
    with torch.inference_mode():
        scores: torch.Tensor = model(input_ids=ids).logits
    return scores
