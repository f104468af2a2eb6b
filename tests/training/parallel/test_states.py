"""Weights and the optimiser's numbers come back from disk to the bit, or not at all."""

from pathlib import Path

import pytest
import torch
from support.ranks import Plain, adam, alone, step
from support.tiny_glm import tiny_glm
from torch import nn

from danlu.adapters.errors import StartError
from danlu.training.learner import Learner, trained_parameters
from danlu.training.parallel.states import load_state, save_state


def learned(steps: int, seed: int = 0, only: str = "") -> tuple[Learner, torch.optim.Optimizer]:
    learner = Plain(only).learner(tiny_glm(seed))
    optimiser = adam(learner)
    for number in range(steps):
        step(number, learner, optimiser, alone())
    return learner, optimiser


def weights(learner: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in learner.parameters()]


@pytest.mark.parametrize("steps", [0, 2])
def test_a_training_goes_on_as_if_it_had_not_ended(tmp_path: Path, steps: int) -> None:
    first, second = learned(steps), learned(1, seed=1)
    save_state(tmp_path / "state", *first, alone())
    load_state(tmp_path / "state", *second, alone())
    for number in range(3):
        losses = [step(number, *each, alone()) for each in (first, second)]
        assert losses[0] == losses[1]
    for one, other in zip(weights(first[0]), weights(second[0]), strict=True):
        assert one.equal(other)


def test_only_what_is_trained_is_written(tmp_path: Path) -> None:
    save_state(tmp_path / "q", *learned(1, only="q_proj"), alone())
    other, optimiser = learned(0, seed=1, only="q_proj")
    before = {name: p.detach().clone() for name, p in other.named_parameters()}
    load_state(tmp_path / "q", other, optimiser, alone())
    changed = {n for n, p in other.named_parameters() if not p.equal(before[n])}
    assert changed == set(trained_parameters(other))


def test_another_models_weights_are_refused_by_name_and_change_nothing(tmp_path: Path) -> None:
    save_state(tmp_path / "state", *learned(1, only="q_proj"), alone())
    learner, optimiser = learned(0, only="k_proj")
    before = weights(learner)
    with pytest.raises(StartError, match="only the model's has model.model.layers.0.self_attn.k_p"):
        load_state(tmp_path / "state", learner, optimiser, alone())
    larger = Learner(tiny_glm(hidden=64))
    with pytest.raises(StartError, match=r"embed_tokens.weight is \[96, 32\], and here it is"):
        save_state(tmp_path / "whole", *learned(0), alone())
        load_state(tmp_path / "whole", larger, adam(larger), alone())
    assert all(one.equal(other) for one, other in zip(before, weights(learner), strict=True))


def test_files_that_are_missing_or_cut_short_are_said_in_a_sentence(tmp_path: Path) -> None:
    learner, optimiser = learned(1)
    with pytest.raises(StartError, match="cannot be read"):
        load_state(tmp_path / "nowhere", learner, optimiser, alone())
    save_state(tmp_path / "state", learner, optimiser, alone())
    for file in (tmp_path / "state").glob("*.distcp"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StartError, match="cannot be read"):
        load_state(tmp_path / "state", learner, optimiser, alone())


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="file/state cannot be written"):
        save_state(tmp_path / "file" / "state", *learned(0), alone())
