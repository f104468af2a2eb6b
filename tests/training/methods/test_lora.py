"""LoRA: it learns beside frozen weights, and peft and the worker read what it writes."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from support.lessons import (
    learn,
    learned,
    lesson_batch,
    loaded_at,
    served,
    untaught,
    whole_state,
)
from support.tiny import byte_level_tokenizer, save_tiny
from torch import Tensor

from danlu.adapters.models.loading import load_model
from danlu.training.learner import Batch, Learner, trained_parameters
from danlu.training.methods.lora import Lora
from danlu.training.methods.method import base_of

pytestmark = pytest.mark.slow

QUIET = Lora(dropout=0.0)


def logits(model: Any, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        scores: Tensor = model(input_ids=ids).logits
    return scores


def by_peft(tmp_path: Path) -> Any:
    """The base with what was written, as peft reads it."""
    plain = load_model(tmp_path / "base", "cpu").model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads names that transformers leaves
        return PeftModel.from_pretrained(plain, str(tmp_path / "lora"))


def taught(tmp_path: Path, method: Lora, *, steps: int) -> Learner:
    """A LoRA that was trained on the model in `base` and lies in `lora`."""
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    learner = method.learner(loaded.model)
    method.initialise(learner, seed=1)
    learn(learner, lesson_batch(), steps=steps, rate=1e-2)
    method.write(whole_state(learner), base, tmp_path / "lora")
    return learner


def test_a_worker_says_what_was_learned_and_stops_by_itself(tmp_path: Path) -> None:
    taught(tmp_path, Lora(), steps=120)
    assert served(tmp_path / "base", tmp_path / "lora") == learned()


def test_the_base_keeps_every_bit(tmp_path: Path) -> None:
    model = loaded_at(untaught(tmp_path / "base")).model
    learner = QUIET.learner(model.requires_grad_(True))
    QUIET.initialise(learner, seed=1)
    learn(learner, lesson_batch(), steps=3, rate=1e-2)
    state = {n.replace(".base_layer", ""): t for n, t in whole_state(learner).items()}
    for name, weights in loaded_at(tmp_path / "base").model.state_dict().items():
        assert torch.equal(weights, state[f"model.{name}"]), name


def test_peft_says_the_same_with_what_was_written(tmp_path: Path) -> None:
    learner = taught(tmp_path, QUIET, steps=5)
    ids = lesson_batch().ids
    found = logits(by_peft(tmp_path), ids)
    assert torch.equal(found, logits(learner.model, ids))
    plain = logits(loaded_at(tmp_path / "base").model, ids)
    assert not torch.allclose(found, plain, atol=0.1)


def test_nothing_changes_before_the_first_step(tmp_path: Path) -> None:
    model = loaded_at(untaught(tmp_path / "base")).model
    before = logits(model, lesson_batch().ids)
    learner = QUIET.learner(model)
    QUIET.initialise(learner, seed=1)
    assert torch.equal(logits(learner.model, lesson_batch().ids), before)


def test_the_first_values_depend_on_the_seed_alone(tmp_path: Path) -> None:
    untaught(tmp_path / "base")
    states = []
    for state_of_torch, seed in ((5, 1), (6, 1), (5, 2)):
        torch.default_generator.manual_seed(state_of_torch)
        learner = QUIET.learner(loaded_at(tmp_path / "base").model)
        QUIET.initialise(learner, seed)
        states.append(torch.cat([p.flatten() for p in trained_parameters(learner).values()]))
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_a_model_without_memory_gets_the_same_tensors(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    empty = QUIET.learner(base.without_memory())
    full = QUIET.learner(loaded.model)
    assert {p.is_meta for p in empty.parameters()} == {True}
    assert list(empty.state_dict()) == list(full.state_dict())
    assert list(trained_parameters(empty)) == list(trained_parameters(full))


def test_its_matrices_are_in_float32_beside_a_base_in_bfloat16(tmp_path: Path) -> None:
    model = load_model(untaught(tmp_path / "base"), "cpu", dtype="bfloat16").model
    learner = QUIET.learner(model)
    assert {p.dtype for p in trained_parameters(learner).values()} == {torch.float32}
    assert model.dtype == torch.bfloat16


def test_layers_that_are_computed_twice_change_nothing(tmp_path: Path) -> None:
    """Dropout included: what was dropped is dropped again."""
    gradients = []
    for twice in (False, True):
        learner = Lora(dropout=0.3).learner(loaded_at(untaught(tmp_path / str(twice))).model)
        Lora().initialise(learner, seed=1)
        if twice:
            learner.model.activation_checkpointing_enable()
        torch.default_generator.manual_seed(3)
        learner.train()
        learner(lesson_batch()).backward()
        gradients.append([p.grad for p in trained_parameters(learner).values()])
    for once, again in zip(*gradients, strict=True):
        assert once is not None and again is not None and torch.equal(once, again)


def test_the_originals_name_trains_q_k_and_v_and_names_them_in_the_file(tmp_path: Path) -> None:
    learner = taught(tmp_path, Lora(rank=3, targets=("query_key_value",)), steps=1)
    parts = {name.split(".")[5] for name in trained_parameters(learner)}
    assert parts == {"q_proj", "k_proj", "v_proj"}
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text("utf-8"))
    assert sorted(config["target_modules"]) == ["k_proj", "q_proj", "v_proj"]
    assert (config["r"], config["base_model_name_or_path"]) == (3, str(tmp_path / "base"))


def test_it_is_trained_on_another_family_too(tmp_path: Path) -> None:
    save_tiny(tmp_path / "base")
    model = load_model(tmp_path / "base", "cpu").model
    base = base_of(tmp_path / "base", model, byte_level_tokenizer())
    learner = QUIET.learner(model)
    QUIET.initialise(learner, seed=1)
    ids = torch.tensor([[5, 6, 7, 8, 9, 2]])
    learn(learner, Batch(ids, ids, torch.arange(6)[None]), steps=5, rate=1e-2)
    QUIET.write(whole_state(learner), base, tmp_path / "lora")
    assert torch.equal(logits(by_peft(tmp_path), ids), logits(learner.model, ids))
