"""QLoRA: a LoRA that learns beside a base of 4 bits, and is served with that base."""

from pathlib import Path

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
from support.tiny_glm import tiny_glm

from danlu.adapters.errors import StartError
from danlu.adapters.models.loading import load_model
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear
from danlu.adapters.models.weight_only.packing import size
from danlu.adapters.models.weight_only.rows import rounded
from danlu.training.learner import trained_parameters
from danlu.training.methods.lora import Lora
from danlu.training.methods.method import base_of
from danlu.training.methods.qlora import QLora

pytestmark = pytest.mark.slow

QUIET = QLora(Lora(dropout=0.0))


def test_a_worker_says_what_was_learned_with_the_packed_base_and_the_dense(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    learner = QUIET.learner(loaded.model)
    QUIET.initialise(learner, seed=1)
    learn(learner, lesson_batch(), steps=150, rate=3e-3)
    QUIET.write(whole_state(learner), base, tmp_path / "lora")
    assert served(tmp_path / "base", tmp_path / "lora", quantization="int4") == learned()
    assert served(tmp_path / "base", tmp_path / "lora") == learned()


def test_the_layers_that_a_worker_packs_are_packed_and_only_the_lora_is_trained(
    tmp_path: Path,
) -> None:
    untaught(tmp_path / "base")
    learner = QUIET.learner(load_model(tmp_path / "base", "cpu").model)
    served_so = load_model(tmp_path / "base", "cpu", quantization="int4").model
    packed = [
        {name.replace(".base_layer", "") for name, m in model.named_modules() if _packed(m)}
        for model in (learner.model, served_so)
    ]
    assert packed[0] == packed[1] and "lm_head" in packed[0]
    assert all(".lora_" in name for name in trained_parameters(learner))
    assert len(trained_parameters(learner)) == 2 * 2 * 6  # matrices, layers, linears of a layer


def test_a_base_in_float32_is_rounded_from_what_a_worker_rounds(tmp_path: Path) -> None:
    """From bfloat16."""
    model = loaded_at(untaught(tmp_path / "base")).model
    expected = rounded(model.lm_head.weight.bfloat16(), 4, torch.bfloat16).dense()
    packed = QUIET.learner(model).model.get_submodule("lm_head")
    assert torch.equal(packed(torch.eye(64)).T, expected)


def test_the_packed_base_keeps_every_bit(tmp_path: Path) -> None:
    learner = QUIET.learner(loaded_at(untaught(tmp_path / "base")).model)
    QUIET.initialise(learner, seed=1)
    before = {n: t.clone() for n, t in learner.state_dict().items() if ".lora_" not in n}
    learn(learner, lesson_batch(), steps=3, rate=1e-2)
    after = learner.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_gradients_are_those_beside_the_same_base_made_dense(tmp_path: Path) -> None:
    """The dense one has the packed one's numbers, which are read off it by unit vectors."""
    packed = QUIET.learner(loaded_at(untaught(tmp_path / "base")).model)
    QUIET.initialise(packed, seed=1)
    dense = Lora(dropout=0.0).learner(loaded_at(tmp_path / "base").model)
    for name, layer in packed.named_modules():
        if isinstance(layer, WeightOnlyLinear):
            weight = layer(torch.eye(layer.in_features)).T
            weight = weight if layer.bias is None else weight - layer.bias[:, None]
            dense.get_submodule(name).weight.data.copy_(weight)  # type: ignore[operator]
    Lora().initialise(dense, seed=1)
    found = []
    for learner in (packed, dense):
        for name, weights in trained_parameters(learner).items():
            if "lora_B" in name:
                torch.nn.init.constant_(weights, 0.01)
        learner(lesson_batch()).backward()
        found.append([weights.grad for weights in trained_parameters(learner).values()])
    for one, other in zip(*found, strict=True):
        assert one is not None and other is not None
        assert torch.allclose(one, other, atol=1e-3 * float(other.abs().max()))


def test_layers_that_are_computed_twice_change_nothing(tmp_path: Path) -> None:
    gradients = []
    for twice in (False, True):
        learner = QLora(Lora(dropout=0.3)).learner(loaded_at(untaught(tmp_path / str(twice))).model)
        QUIET.initialise(learner, seed=1)
        if twice:
            learner.model.activation_checkpointing_enable()
        torch.default_generator.manual_seed(3)
        learner.train()
        learner(lesson_batch()).backward()
        gradients.append([p.grad for p in trained_parameters(learner).values()])
    for once, again in zip(*gradients, strict=True):
        assert once is not None and again is not None and torch.equal(once, again)


def test_a_base_takes_a_third_of_its_half_where_most_of_it_is_layers() -> None:
    wide = {"hidden": 512, "inner": 1024, "heads": 4, "groups": 2, "head_size": 128}
    model = tiny_glm(vocabulary=64, **wide).to(torch.bfloat16)  # type: ignore[arg-type]
    before = size(model)
    learner = QUIET.learner(model)
    added = sum(weights.nbytes for weights in trained_parameters(learner).values())
    assert size(learner) - added < before / 3


def test_a_model_without_memory_gets_the_same_tensors(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    empty, full = QUIET.learner(base.without_memory()), QUIET.learner(loaded.model)
    kinds = [{n: (t.shape, t.dtype) for n, t in one.state_dict().items()} for one in (empty, full)]
    assert kinds[0] == kinds[1]
    assert {tensor.is_meta for tensor in empty.state_dict().values()} == {True}


def test_a_model_of_small_layers_alone_is_refused() -> None:
    tiny = tiny_glm(vocabulary=32, hidden=16, heads=2, groups=2, inner=16)
    with pytest.raises(StartError, match="GlmForCausalLM has no layer that can be packed"):
        QUIET.learner(tiny)


def _packed(module: object) -> bool:
    return isinstance(module, WeightOnlyLinear)
