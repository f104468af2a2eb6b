"""Adapters that peft makes for the tiny models, and peft's own models with them."""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj")  # by these names in GLM and in Llama


def peft_lora(
    model: PreTrainedModel, directory: Path, *, seed: int = 1, **config: Any
) -> PreTrainedModel:
    """A LoRA of random matrices on a copy of `model`, saved; peft's own model of it."""
    chosen = {"r": 4, "lora_alpha": 16, "target_modules": list(ALL), **config}
    return _peft(model, directory, LoraConfig(init_lora_weights=False, **chosen), seed)


def peft_prefix(
    model: PreTrainedModel, directory: Path, length: int, *, seed: int = 1, **config: Any
) -> PreTrainedModel:
    """A prefix of peft's, saved; peft's own model of it."""
    wanted = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=length, **config)
    return _peft(model, directory, wanted, seed)


def _peft(model: PreTrainedModel, directory: Path, config: Any, seed: int) -> PreTrainedModel:
    torch.default_generator.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads names that transformers leaves
        made: Any = get_peft_model(copy.deepcopy(model), config)
    for name, weights in made.named_parameters():
        if weights.requires_grad:
            nn.init.normal_(weights, std=0.5 if "prompt" in name else 0.2)
    made.train(False)
    made.requires_grad_(False)
    made.save_pretrained(str(directory))
    tuned: PreTrainedModel = made
    return tuned
