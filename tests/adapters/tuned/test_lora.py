"""LoRA as it lies on disk: peft's names and the original ChatGLM's, and what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_glm import logits, tiny_glm
from support.tuned import lora_files, original_lora
from torch import Tensor

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.names import joined, parts, split
from danlu.adapters.models.chatglm.native import description_of
from danlu.adapters.models.tuned.adapter import Lora
from danlu.adapters.models.tuned.reading import tuning_at

Q = "model.layers.0.self_attn.q_proj"


def read(path: Path, model: Any = None) -> Lora:
    found = tuning_at(path, tiny_glm() if model is None else model)
    assert isinstance(found, Lora)
    return found


def pair(name: str = Q, rank: int = 4, columns: int = 32, rows: int = 32) -> dict[str, Tensor]:
    start = f"base_model.model.{name}.lora"
    return {
        f"{start}_A.weight": torch.ones(rank, columns),
        f"{start}_B.weight": torch.ones(rows, rank),
    }


def merged(model: Any, lora: Lora) -> Any:
    """A copy of `model` with the matrices' products in its weights."""
    whole = copy.deepcopy(model)
    whole.requires_grad_(False)
    for name, matrices in lora.pairs.items():
        whole.get_submodule(name).weight += matrices.up @ matrices.down
    return whole


@pytest.mark.parametrize("groups", [2, 4], ids=["grouped", "q, k and v head by head"])
def test_the_originals_names_mean_what_they_mean_in_the_original(
    tmp_path: Path, groups: int
) -> None:
    """Added there to the joined query_key_value, and here to its three parts."""
    model = tiny_glm(groups=groups, per_head=groups == 4)
    matrices = original_lora(tmp_path / "lora", qkv=(4 + 2 * groups) * 8)
    there = copy.deepcopy(model)
    state, of = there.state_dict(), description_of(model.config)
    for module, (down, up) in matrices.items():
        natives = parts(of)[f"{module}.weight"].natives
        old = [state[name] for name in natives]
        new = (joined(old, of) if len(old) == 3 else old[0]) + 2 * up @ down
        state |= dict(zip(natives, split(new, of) if len(old) == 3 else (new,), strict=True))
    there.load_state_dict(state)
    lora = read(tmp_path / "lora", model)
    assert len(lora.pairs) == 2 * 6
    difference = logits(merged(model, lora)) - logits(there)
    assert difference.abs().max() < 1e-4
    assert (logits(model) - logits(there)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4.0),
        ({"lora_alpha": 6}, 1.5),
        ({"alpha_pattern": {"q_proj": 12}}, 3.0),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 12, "q_proj": 4}}, 3.0),
        ({"alpha_pattern": {"layers.1.self_attn.q_proj": 12}}, 2.0),
        ({"r": 64, "rank_pattern": {".*q_proj": 4}}, 2.0),
        ({"init_lora_weights": "gaussian", "lora_dropout": 0.1, "target_modules": "x"}, 2.0),
    ],
)
def test_the_scale_is_pefts(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    lora = read(lora_files(tmp_path / "lora", pair(), **config))
    assert torch.equal(lora.pairs[Q].up, torch.full((32, 4), scale))
    assert torch.equal(lora.pairs[Q].down, torch.ones(4, 32))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"use_dora": True}, "use_dora=True, which is not served"),
        ({"bias": "lora_only"}, "bias='lora_only'; adapters that train biases"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\]"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"alora_invocation_tokens": [7]}, "alora_invocation_tokens"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=True"),
        ({"invented_next_year": 1}, "invented_next_year=1, which is not served"),
        ({"init_lora_weights": "pissa"}, "'pissa', which changes the base model's weights"),
        ({"r": 8}, "4x32 and 32x4 for .*q_proj, and .* says that their rank is 8"),
        ({"r": "many"}, "r='many'; it must be a positive integer"),
        ({"lora_alpha": "2"}, "lora_alpha='2'; it must be a number"),
        ({"peft_type": "IA3"}, "peft_type='IA3'; served are LORA and PREFIX_TUNING"),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(StartError, match=words):
        read(lora_files(tmp_path / "lora", pair(), **config))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (pair(columns=48), "another model: for .*q_proj it maps 48 numbers to 32, .* 32 and 32"),
        (pair(rows=31), "it maps 32 numbers to 31"),
        (pair("model.layers.2.self_attn.q_proj"), "another model: this glm has no model.layers.2"),
        (pair("model.layers.0.self_attn.query"), "this glm has no model.layers.0.self_attn.query"),
        (pair("transformer.encoder.layers.7.mlp.dense_h_to_4h"), "has no transformer.*layers.7"),
        (pair("transformer.encoder.layers.0.self_attention.query_key_value"), "32 .* gives 64"),
        (pair("lm_head", rows=96), "lm_head is the model's head; LoRA on it is not served"),
        (pair("transformer.output_layer", rows=96), "lm_head is the model's head"),
        (pair("model.norm"), "a GlmRMSNorm in this model, and LoRA is served on linear layers"),
        ({f"{Q}.lora_A.weight": torch.ones(4, 32)}, "one matrix only for"),
        ({**pair(), f"{Q}.lora_magnitude_vector": torch.ones(32)}, "no matrix of a LoRA"),
        ({"model.embed_tokens.lora_embedding_A": torch.ones(4, 9)}, "no matrix of a LoRA"),
        ({}, "has no matrices"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor], words: str
) -> None:
    with pytest.raises(StartError, match=words):
        read(lora_files(tmp_path / "lora", tensors))


def test_a_pickle_that_wants_to_call_something_is_refused(tmp_path: Path) -> None:
    folder = lora_files(tmp_path / "lora", pair())
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"x": Path("/")}, folder / "adapter_model.bin")
    with pytest.raises(StartError, match="code in a checkpoint is never run"):
        read(folder)


def test_a_pickle_of_tensors_is_read(tmp_path: Path) -> None:
    folder = lora_files(tmp_path / "lora", pair())
    (folder / "adapter_model.safetensors").unlink()
    torch.save(pair(), folder / "adapter_model.bin")
    assert list(read(folder).pairs) == [Q]


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    file = lora_files(tmp_path / "lora", pair()) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StartError, match="cannot be read"):
        read(file.parent)


def test_a_directory_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="holds no adapter: no adapter_config.json"):
        read(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "chatglm"}), encoding="utf-8")
    with pytest.raises(StartError, match="holds no adapter"):
        read(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(StartError, match="cannot be read as JSON"):
        read(tmp_path)


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    folder = lora_files(tmp_path / "lora", pair())
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(StartError, match="has no weights: no adapter_model.safetensors and no"):
        read(folder)
