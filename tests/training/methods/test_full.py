"""Full fine-tuning: all weights learn, and come out as a model that is served."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.families import SHAPE
from support.lessons import (
    learn,
    learned,
    lesson_batch,
    loaded_at,
    served,
    untaught,
    whole_state,
)
from support.tiny import byte_level_tokenizer, random_model, save_tiny, tiny_config
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from danlu.adapters.models.chatglm.config import NATIVE
from danlu.adapters.models.loading import load_model
from danlu.training.learner import trained_parameters
from danlu.training.methods.full import Full
from danlu.training.methods.method import base_of

pytestmark = pytest.mark.slow


def test_a_worker_says_what_was_learned_and_stops_by_itself(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    learner = Full().learner(loaded.model)
    learn(learner, lesson_batch(), steps=300, rate=3e-3)
    Full().write(whole_state(learner), base, tmp_path / "out")
    assert served(tmp_path / "out") == learned()


def test_every_weight_is_trained_in_float32_whatever_the_file_has(tmp_path: Path) -> None:
    loaded = load_model(untaught(tmp_path / "base"), "cpu", dtype="bfloat16")
    learner = Full().learner(loaded.model)
    trained = trained_parameters(learner)
    assert len(trained) == len(list(learner.parameters()))
    assert {weights.dtype for weights in trained.values()} == {torch.float32}


def test_what_is_written_has_the_number_format_of_the_base(tmp_path: Path) -> None:
    model = random_model(tiny_config()).to(torch.bfloat16)  # type: ignore[arg-type]
    model.save_pretrained(tmp_path / "base")
    byte_level_tokenizer().save_pretrained(tmp_path / "base")
    base = base_of(tmp_path / "base", model, byte_level_tokenizer())
    learner = Full().learner(model)
    Full().write(whole_state(learner), base, tmp_path / "out")
    written = load_model(tmp_path / "out", "cpu", dtype="float32")
    assert written.model.config.dtype == torch.float32  # as asked for
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert stored.dtype == torch.bfloat16


@pytest.mark.parametrize("tied", [False, True])
def test_another_family_comes_out_as_it_went_in(tmp_path: Path, tied: bool) -> None:
    model = random_model(tiny_config(tie_word_embeddings=tied))
    model.save_pretrained(save_tiny(tmp_path / "base"))
    base = base_of(tmp_path / "base", model, byte_level_tokenizer())
    learner = Full().learner(model)
    state = whole_state(learner)
    trained = {name: weights.detach() for name, weights in trained_parameters(learner).items()}
    assert tied == (len(trained) < len(state))  # a weight in two places is trained once
    Full().write(trained, base, tmp_path / "out")
    again = load_model(tmp_path / "out", "cpu")
    assert again.tokenizer.get_vocab() == byte_level_tokenizer().get_vocab()
    for name, weights in again.model.state_dict().items():
        assert torch.equal(weights, state[f"model.{name}"]), name


def test_what_lies_in_the_files_and_is_not_trained_comes_out_too(tmp_path: Path) -> None:
    experts = {"n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
    shape: dict[str, Any] = {**SHAPE, **experts, "head_dim": 8, "first_k_dense_replace": 0}
    model = random_model(CONFIG_MAPPING["glm4_moe"](**shape))
    for table in model.buffers():
        if not table.any():
            table.uniform_()
    model.save_pretrained(tmp_path / "base")
    byte_level_tokenizer().save_pretrained(tmp_path / "base")
    loaded = load_model(tmp_path / "base", "cpu")
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    before = {name: weights.clone() for name, weights in loaded.model.state_dict().items()}
    learner = Full().learner(loaded.model)
    assert len(trained_parameters(learner)) < len(before)
    Full().write(trained_parameters(learner), base, tmp_path / "out")
    again = load_model(tmp_path / "out", "cpu").model.state_dict()
    assert all(torch.equal(again[name], weights) for name, weights in before.items())


def test_what_is_written_is_known_as_a_chatglm(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    before = base.config.to_dict()
    Full().write(whole_state(Full().learner(loaded.model)), base, tmp_path / "out")
    assert base.config.to_dict() == before
    again = loaded_at(tmp_path / "out")
    assert again.chatglm == 2 and getattr(again.model.config, NATIVE) == 2
    assert again.end_ids == loaded.end_ids
    ids = lesson_batch().ids
    with torch.inference_mode():
        assert torch.equal(again.model(ids).logits, loaded.model(ids).logits)
