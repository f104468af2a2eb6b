"""What a training of one process begins with; several are in test_two_processes."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.glm import PADDED, save_glm, vocab_file
from support.ranks import In, Plain, alone, batch, settings, whole
from support.tiny import CONTEXT, byte_level_tokenizer, random_model
from support.tiny_glm import quantised
from transformers import GPT2Config

from danlu.adapters.errors import StartError
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear
from danlu.training.learner import trained_parameters
from danlu.training.methods.lora import Lora
from danlu.training.parallel.gathering import gathered
from danlu.training.parallel.launch import Place, Ranks
from danlu.training.parallel.loading import begin
from danlu.training.peers import Repeated

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("one")
    save_glm(made / "model")
    return made


def test_what_is_trained_is_in_float32_whatever_is_computed_in(folder: Path) -> None:
    learner = begin(settings(folder), alone(), Plain(), In(torch.bfloat16)).learner
    assert {p.dtype for p in learner.parameters()} == {torch.float32}
    assert len(trained_parameters(learner)) == len(list(learner.parameters()))


def test_what_stays_as_it_is_is_held_in_what_is_computed_in(folder: Path) -> None:
    method = Plain("q_proj", keeps_base=True)
    learner = begin(settings(folder), alone(), method, In(torch.bfloat16)).learner
    formats = {name: p.dtype for name, p in learner.named_parameters()}
    assert {name for name, f in formats.items() if f == torch.float32} == {
        name for name in formats if "q_proj" in name
    }
    assert set(formats.values()) == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("bits", [4, 8])
def test_a_checkpoint_of_integers_is_dense_and_has_gradients(bits: int, tmp_path: Path) -> None:
    quantised(tmp_path / "model", bits, vocabulary=PADDED)
    shutil.copyfile(vocab_file(), tmp_path / "model" / "tokenizer.model")
    learner = begin(settings(tmp_path), alone(), Lora(), In(torch.bfloat16)).learner
    with torch.autocast("cpu", torch.bfloat16):
        learner(batch(0, alone())).backward()
    assert all(p.grad is not None for p in trained_parameters(learner).values())
    assert not any(isinstance(layer, WeightOnlyLinear) for layer in learner.modules())


def test_one_process_says_that_it_shards_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "danlu.training"):
        begin(settings(folder, fsdp="full_shard offload"), alone(), Plain(), In())
    assert [line for line in caplog.messages if "--fsdp" in line] == [
        "--fsdp full_shard offload: one process holds all, there is nobody to share with",
        "--fsdp full_shard offload: weights of the host lie in its memory already",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_name_or_path": "nowhere"}, "'nowhere' does not exist"),
        ({"fsdp": "hybrid_shard"}, "--fsdp hybrid_shard is not supported"),
    ],
)
def test_what_cannot_be_loaded_or_shared_is_refused(
    folder: Path, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(StartError, match=said):
        begin(settings(folder, **changes), alone(), Plain(), In())


@pytest.mark.parametrize(("longest", "fits"), [(CONTEXT, True), (CONTEXT + 1, False)])
def test_samples_longer_than_the_positions_that_a_model_has_learned_are_refused(
    tmp_path: Path, longest: int, fits: bool
) -> None:
    shape: dict[str, Any] = {
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
        "vocab_size": 400,
        "n_positions": CONTEXT,
    }
    random_model(GPT2Config(**shape)).save_pretrained(tmp_path / "model")
    byte_level_tokenizer().save_pretrained(tmp_path / "model")
    told = settings(tmp_path, model_max_length=longest)
    if fits:
        begin(told, alone(), Plain(), In())
        return
    expected = f"--model_max_length {longest} is more than the {CONTEXT} positions that this model"
    with pytest.raises(StartError, match=expected):
        begin(told, alone(), Plain(), In())


def test_what_nobody_can_share_is_said_by_the_first_alone(folder: Path) -> None:
    second = Ranks(Place(1, 2, 1, 2), torch.device("cpu"), None)
    with pytest.raises(Repeated, match="--fsdp hybrid_shard is not supported"):
        begin(settings(folder, fsdp="hybrid_shard"), second, Plain(), In())


def test_whole_weights_are_copies_in_the_format_that_is_asked_for(folder: Path) -> None:
    learner = begin(settings(folder), alone(), Plain(), In()).learner
    copies = whole(learner, alone())
    with torch.no_grad():
        for weights in learner.parameters():
            weights.zero_()
    assert all(copy.any() for name, copy in copies.items() if "bias" not in name)
    halves = gathered(dict(learner.named_parameters()), alone(), torch.float16)
    assert {half.dtype for half in halves.values()} == {torch.float16}


def test_only_the_first_process_has_them() -> None:
    second = Ranks(Place(1, 2, 1, 2), torch.device("cpu"), None)
    assert gathered({"one": torch.ones(2)}, second) == {}
