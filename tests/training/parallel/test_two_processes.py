"""Two processes train one model: what each holds, that they agree, and what they go on from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.glm import save_glm
from support.ranks import (
    LOST,
    In,
    Plain,
    alone,
    results,
    settings,
    started,
)
from support.tiny import byte_level_tokenizer, random_model, tiny_config
from torch import Tensor

from danlu.training.learner import Learner
from danlu.training.parallel.loading import begin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("two")
    save_glm(made / "model")
    random_model(tiny_config(tie_word_embeddings=True)).save_pretrained(made / "tied")
    byte_level_tokenizer().save_pretrained(made / "tied")
    (made / "run").mkdir()
    return made


@pytest.fixture(scope="module")
def killed(folder: Path) -> list[dict[str, Any]]:
    """What both found out before the first one was killed in the middle of a checkpoint."""
    with started("killing", folder) as programs:
        statuses = [program.wait_to_end() for program in programs]
        said = programs[1].output
    assert statuses == [-9, LOST], said
    return [{**each, "said": said} for each in results(folder)]


@pytest.fixture(scope="module")
def replicated(folder: Path) -> list[dict[str, Any]]:
    with started("replicating", folder, torchrun=True) as (program,):
        assert program.wait_to_end() == 0, program.output
    return results(folder)


def learner_of(folder: Path, **changes: Any) -> Learner:
    """The same model in one process."""
    return begin(settings(folder, **changes), alone(), Plain(), In()).learner


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], part: float = 1e-5) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        off = (found[name] - tensor).abs().max().item()
        assert off <= part * tensor.abs().max().item(), f"{name} is off by {off}"


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    assert [name for name, tensor in wanted.items() if not tensor.equal(found[name])] == []


def test_each_process_holds_half_of_every_weight_and_of_the_optimisers_numbers(
    killed: list[dict[str, Any]],
) -> None:
    for (name, whole, first), (_, _, second) in zip(
        killed[0]["shards"], killed[1]["shards"], strict=True
    ):
        assert first[0] + second[0] == whole[0], name
        assert first[1:] == second[1:] == whole[1:]
    numbers = [sum(torch.Size(here).numel() for *_, here in each["shards"]) for each in killed]
    in_all = sum(torch.Size(whole).numel() for _, whole, _ in killed[0]["shards"])
    assert sum(numbers) == in_all and max(numbers) < 0.51 * in_all
    assert [each["held"] for each in killed] == [2 * number for number in numbers]
