"""P-Tuning v2: trained as it is served, whatever is done to save memory or time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.batches import Batch as Served, apart
from support.lessons import (
    learn,
    learned,
    lesson_batch,
    loaded_at,
    mistaught,
    served,
    untaught,
    whole_state,
)
from support.tiny import byte_level_tokenizer, random_model, save_tiny, tiny_config
from support.tiny_glm import tiny_glm
from support.tuned import prefixed_logits
from torch import Tensor
from transformers import BloomConfig, MistralConfig

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.config import described
from danlu.adapters.models.chatglm.native import native_config
from danlu.adapters.models.checkpoint import read_json
from danlu.adapters.models.loading import load_model
from danlu.adapters.models.tuned.adapter import Prefix
from danlu.adapters.models.tuned.reading import tuning_at
from danlu.training.learner import IGNORED, Batch, Learner, trained_parameters
from danlu.training.methods.method import base_of
from danlu.training.methods.ptuning import PTuning

pytestmark = pytest.mark.slow

PROJECTED = pytest.mark.parametrize("projected", [False, True], ids=["embedding", "projection"])
TEXT = [5, 17, 3, 80, 41, 41, 9]


def begun(model: Any, *, projected: bool = False, length: int = 5) -> Learner:
    """Before its first step; nothing is dropped."""
    method = PTuning(length, projected)
    learner = method.learner(model)
    method.initialise(learner, seed=1)
    return learner.eval()


def logits(learner: Learner, ids: list[int]) -> Tensor:
    """[tokens, words]"""
    model: Any = learner.model
    row = torch.tensor([ids])
    with torch.inference_mode():
        hidden = learner.hidden(Batch(row, row, torch.arange(len(ids))[None]))
        scores: Tensor = model.lm_head(hidden)[0]
    return scores


def row(*texts: list[int], trained: int = 2) -> Batch:
    """Texts in one row, each of which sees itself only; the last tokens of each are learned."""
    ids = torch.tensor([[token for text in texts for token in text]])
    labels = [[IGNORED] * (len(text) - trained) + text[-trained:] for text in texts]
    number = torch.cat([torch.full((len(text),), i) for i, text in enumerate(texts)])
    mask = (number[:, None] == number).tril()[None, None]
    positions = torch.cat([torch.arange(len(text)) for text in texts])[None]
    return Batch(ids, torch.tensor([sum(labels, [])]), positions, mask)


def gradients(learner: Learner, *batches: Batch) -> list[Tensor]:
    """Of the sum over the batches."""
    learner.zero_grad()
    for batch in batches:
        learner(batch).backward()
    found = [weights.grad for weights in trained_parameters(learner).values()]
    return [gradient.clone() for gradient in found if gradient is not None]


@PROJECTED
def test_a_worker_says_what_was_learned_and_stops_by_itself(
    tmp_path: Path, projected: bool
) -> None:
    loaded = loaded_at(mistaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    method = PTuning(16, projected)
    learner = method.learner(loaded.model)
    method.initialise(learner, seed=1)
    learn(learner, lesson_batch(), steps=200, rate=1e-2 if projected else 1e-1, until=0.03)
    method.write(whole_state(learner), base, tmp_path / "prefix")
    assert served(tmp_path / "base") != learned()
    assert served(tmp_path / "base", tmp_path / "prefix") == learned()


@PROJECTED
@pytest.mark.parametrize("family", ["glm", "llama"])
def test_what_is_trained_is_what_is_served(tmp_path: Path, projected: bool, family: str) -> None:
    """By the worker's engine, and by the original's own way."""
    path = (untaught if family == "glm" else save_tiny)(tmp_path / "base")
    loaded = load_model(path, "cpu")
    base = base_of(path, loaded.model, loaded.tokenizer)
    learner = begun(loaded.model, projected=projected)
    PTuning(5, projected).write(whole_state(learner), base, tmp_path / "prefix")
    expected = logits(learner, TEXT)
    plain = load_model(path, "cpu").model
    prefix = tuning_at(tmp_path / "prefix", plain)
    assert isinstance(prefix, Prefix)
    original = prefixed_logits(plain, torch.stack(prefix.keys), torch.stack(prefix.values), TEXT)
    batch = Served(plain)
    asked = batch.ask(TEXT, batch.load("prefix", tmp_path / "prefix"), tokens=1)
    batch.run()
    assert float((original - expected).abs().max()) < 1e-5 * float(expected.std())
    assert apart(batch, asked, expected) < 1e-5 * float(expected.std())


def test_the_base_keeps_every_bit(tmp_path: Path) -> None:
    model = loaded_at(untaught(tmp_path / "base")).model
    learner = begun(model.requires_grad_(True))
    learn(learner, lesson_batch(), steps=3, rate=1e-1)
    state = whole_state(learner)
    for name, weights in loaded_at(tmp_path / "base").model.state_dict().items():
        assert torch.equal(weights, state[f"model.{name}"]), name
    assert all(name.startswith("prefix_encoder.") for name in trained_parameters(learner))


def test_padding_changes_nothing() -> None:
    learner = begun(tiny_glm())
    texts = [TEXT, TEXT[:4], [7, 8, 9, 10, 11]]
    ids, labels = torch.zeros(3, 7, dtype=torch.int64), torch.full((3, 7), IGNORED)
    for number, text in enumerate(texts):
        ids[number, : len(text)] = torch.tensor(text)
        labels[number, len(text) - 2 : len(text)] = torch.tensor(text[-2:])
    padded = Batch(ids, labels, torch.arange(7).expand(3, 7))
    alone = gradients(learner, *(row(text) for text in texts))
    for expected, found in zip(alone, gradients(learner, padded), strict=True):
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_every_text_of_a_packed_row_sees_the_prefix_and_itself_only() -> None:
    learner = begun(tiny_glm(), projected=True)
    texts = [TEXT, [7, 8, 9, 10, 11]]
    alone = gradients(learner, *(row(text) for text in texts))
    for expected, found in zip(alone, gradients(learner, row(*texts)), strict=True):
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@PROJECTED
def test_layers_that_are_computed_twice_change_nothing(projected: bool) -> None:
    """Two batches before any gradient: each layer finds the prefix of its own batch again."""
    found = []
    for twice in (False, True):
        learner = begun(tiny_glm(), projected=projected).train()
        if twice:
            learner.model.activation_checkpointing_enable()
        torch.default_generator.manual_seed(3)  # for what is dropped
        losses = [learner(row(TEXT)), learner(row(TEXT[::-1]))]
        sum(losses, torch.zeros(())).backward()
        found.append([weights.grad for weights in trained_parameters(learner).values()])
    for once, again in zip(*found, strict=True):
        assert once is not None and again is not None and torch.equal(once, again)


def test_each_row_drops_numbers_of_its_own_and_only_while_training() -> None:
    learner: Any = begun(tiny_glm())
    torch.default_generator.manual_seed(3)
    keys = learner.train().prefix_encoder(2).keys[0]
    assert not torch.equal(keys[0], keys[1])
    share = float((keys == 0).float().mean())
    assert 0.02 < share < 0.25  # one in ten is meant
    calm = learner.eval().prefix_encoder(2).keys[0]
    assert torch.equal(calm[0], calm[1]) and bool((calm != 0).all())


def test_the_first_values_depend_on_the_seed_alone() -> None:
    states = []
    for state_of_torch, seed in ((5, 1), (6, 1), (5, 2)):
        torch.default_generator.manual_seed(state_of_torch)
        learner = PTuning(5, True).learner(tiny_glm())
        PTuning(5, True).initialise(learner, seed)
        states.append(torch.cat([p.flatten() for p in trained_parameters(learner).values()]))
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_a_model_without_memory_gets_the_same_tensors(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    empty = PTuning(5, True).learner(base.without_memory())
    full = PTuning(5, True).learner(loaded.model)
    assert {p.is_meta for p in empty.parameters()} == {True}
    shapes = [{n: t.shape for n, t in one.state_dict().items()} for one in (empty, full)]
    assert shapes[0] == shapes[1]


def test_the_prefix_is_in_float32_before_a_base_in_bfloat16(tmp_path: Path) -> None:
    learner = begun(load_model(untaught(tmp_path / "base"), "cpu", dtype="bfloat16").model)
    assert {p.dtype for p in trained_parameters(learner).values()} == {torch.float32}
    (gradient,) = gradients(learner, row(TEXT))
    assert gradient.dtype == torch.float32 and bool(gradient.any())


def test_the_original_finds_its_whole_configuration_beside_the_prefix(tmp_path: Path) -> None:
    loaded = loaded_at(untaught(tmp_path / "base"))
    base = base_of(tmp_path / "base", loaded.model, loaded.tokenizer)
    learner = begun(loaded.model, projected=True)
    PTuning(5, True).write(whole_state(learner), base, tmp_path / "prefix")
    config = read_json(tmp_path / "prefix" / "config.json")
    assert (config.pop("pre_seq_len"), config.pop("prefix_projection")) == (5, True)
    assert native_config(described(config)).to_dict() == {
        **loaded.model.config.to_dict(),
        **{"dtype": None, "architectures": None},
    }
    tensors = torch.load(tmp_path / "prefix" / "pytorch_model.bin", weights_only=True)
    assert list(tensors) == [
        f"transformer.prefix_encoder.{name}"
        for name in ("embedding.weight", "trans.0.weight", "trans.0.bias")
        + ("trans.2.weight", "trans.2.bias")
    ]
    width = 2 * 2 * 2 * 16  # layers, keys and values, groups, channels
    assert tensors["transformer.prefix_encoder.embedding.weight"].shape == (5, width)
    assert tensors["transformer.prefix_encoder.trans.0.weight"].shape == (64, width)


def test_models_that_no_prefix_can_go_before_are_refused() -> None:
    small: dict[str, Any] = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 16,
    }
    mistral = MistralConfig(**small, num_key_value_heads=2, sliding_window=4, intermediate_size=8)
    with pytest.raises(StartError, match="MistralForCausalLM has sliding_window=4, where a text"):
        PTuning().learner(random_model(mistral))
    own: Any = random_model(tiny_config())
    own._supports_sdpa = False
    with pytest.raises(StartError, match="LlamaForCausalLM has an attention of its own"):
        PTuning().learner(own)
    bloom = BloomConfig(hidden_size=8, n_layer=1, n_head=2, vocab_size=16)
    with pytest.raises(StartError, match="BloomForCausalLM has an attention of its own"):
        PTuning().learner(random_model(bloom))


def test_another_familys_prefix_says_of_what_it_is(tmp_path: Path) -> None:
    model = random_model(tiny_config())
    base = base_of(save_tiny(tmp_path / "base"), model, byte_level_tokenizer())
    PTuning(5).write(whole_state(begun(model)), base, tmp_path / "prefix")
    assert read_json(tmp_path / "prefix" / "config.json") == {
        "model_type": "llama",
        "pre_seq_len": 5,
        "prefix_projection": False,
    }
