"""A LoRA in the weights says what it says beside them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.lessons import (
    learn,
    learned,
    lesson_batch,
    loaded_at,
    served,
    untaught,
    whole_state,
)
from support.tiny import save_tiny, tiny_model
from support.tiny_glm import save_original, tiny_glm
from support.tuned import lora_files, original_prefix

from danlu.adapters.errors import StartError
from danlu.adapters.models.checkpoint import read_json
from danlu.adapters.models.loading import load_model
from danlu.training.methods.lora import Lora
from danlu.training.methods.merging import merge
from danlu.training.methods.method import base_of

pytestmark = pytest.mark.slow

LAYER = "model.layers.1.mlp.down_proj"


def a_lora(directory: Path, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """On one layer of a tiny model; its matrices."""
    torch.default_generator.manual_seed(seed)
    down, up = torch.randn(4, 24), torch.randn(32, 4)
    tensors = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    lora_files(directory, tensors, r=4, lora_alpha=8)
    return down, up


def weight(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.get_submodule(LAYER).weight
    return found


@pytest.mark.parametrize("layout", ["native", "original"])
def test_a_worker_says_with_the_sum_what_it_says_with_both(tmp_path: Path, layout: str) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    learner = Lora(dropout=0.0).learner(loaded.model)
    Lora().initialise(learner, seed=1)
    learn(learner, lesson_batch(), steps=150, rate=1e-2)
    Lora().write(whole_state(learner), base, tmp_path / "lora")
    assert served(tmp_path / "base", tmp_path / "lora") == learned()
    merge(tmp_path / "base", tmp_path / "lora", tmp_path / "out", layout=layout)
    assert served(tmp_path / "out") == learned()
    kind = {"native": "glm", "original": "chatglm"}[layout]
    assert read_json(tmp_path / "out" / "config.json")["model_type"] == kind


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(None, torch.float16), ("bfloat16", torch.bfloat16), ("float32", torch.float32)],
)
def test_sums_are_rounded_once(tmp_path: Path, dtype: str | None, wanted: torch.dtype) -> None:
    half: Any = tiny_glm().to(torch.float16)  # type: ignore[arg-type]
    source = save_original(tmp_path / "base", half)
    (source / "tokenizer.model").write_bytes(b"not looked into")
    down, up = a_lora(tmp_path / "lora")
    merge(source, tmp_path / "lora", tmp_path / "out", layout="original", dtype=dtype)
    stored = torch.load(tmp_path / "out" / "pytorch_model.bin", weights_only=True)
    found = stored["transformer.encoder.layers.1.mlp.dense_4h_to_h.weight"]
    exact = weight(half).double() + 2 * up.double() @ down.double()
    assert found.dtype == wanted
    step = torch.finfo(wanted).eps
    assert bool(((found.double() - exact).abs() <= 0.51 * step * exact.abs() + 1e-6).all())
    untouched = stored["transformer.encoder.layers.0.mlp.dense_4h_to_h.weight"]
    assert torch.equal(untouched, half.get_submodule(LAYER.replace("1", "0")).weight.to(wanted))


def test_another_family_is_merged_too(tmp_path: Path) -> None:
    torch.default_generator.manual_seed(1)
    down, up = torch.randn(4, 48), torch.randn(32, 4)
    tensors = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    lora_files(tmp_path / "lora", tensors, r=4, lora_alpha=4)
    merge(save_tiny(tmp_path / "base"), tmp_path / "lora", tmp_path / "out")
    merged = load_model(tmp_path / "out", "cpu").model
    assert torch.allclose(weight(merged), weight(tiny_model()) + up @ down, atol=1e-5)


def test_a_prefix_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    original_prefix(tmp_path / "prefix", 5)
    with pytest.raises(StartError, match="is a prefix.*serve it beside its base, with --adapters"):
        merge(save_original(tmp_path / "base"), tmp_path / "prefix", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_anothers_lora_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    a_lora(tmp_path / "lora")
    with pytest.raises(StartError, match="was trained on another model"):
        merge(save_tiny(tmp_path / "base"), tmp_path / "lora", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_stays(tmp_path: Path) -> None:
    a_lora(tmp_path / "lora")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(StartError, match="exists and is not empty"):
        merge(save_original(tmp_path / "base"), tmp_path / "lora", tmp_path / "out")
