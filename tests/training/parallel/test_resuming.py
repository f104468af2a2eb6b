"""A training goes on from a checkpoint of its own, and from no other."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from support.ranks import adam, alone
from support.tiny_glm import tiny_glm

from danlu.adapters.errors import StartError
from danlu.training.learner import Learner
from danlu.training.parallel.folders import PROGRESS, STATE
from danlu.training.parallel.resuming import (
    Facts,
    check,
    facts_of,
    read,
    resume,
    with_known_best,
)
from danlu.training.parallel.states import save_state
from danlu.training.progress import Progress
from danlu.training.settings import TrainingSettings

SETTINGS = TrainingSettings(method="lora", lora_target_modules=("q_proj",))
AT = Progress(step=7, epoch=1, inside=3, loss_scale=2.0**15, best_loss=1 / 3, best_step=5)


def facts(samples: str = "1234", processes: int = 2, **changes: Any) -> Facts:
    return facts_of(replace(SETTINGS, **changes), samples, processes)


def refused(before: Facts, now: Facts) -> str:
    with pytest.raises(StartError) as caught:
        check(Path("checkpoint-7"), before, now)
    return str(caught.value)


def lay(folder: Path, before: Facts) -> Path:
    (folder / STATE).mkdir(parents=True)
    content = {"progress": asdict(AT), **asdict(before)}
    (folder / STATE / PROGRESS).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "--seed 42, and now it is 1"),
        ({"method": "full"}, "--method lora, and now it is full"),
        ({"lora_r": 16}, "--lora_r 8, and now it is 16"),
        ({"lora_target_modules": ("q_proj", "v_proj")}, "q_proj, and now it is q_proj,v_proj"),
        ({"group_by_length": False}, "--group_by_length true, and now it is false"),
        ({"samples": "5678"}, "was made with other samples"),
        ({"per_device_train_batch_size": 4}, "was made with 16 rows a step, and now it is 8"),
        ({"gradient_accumulation_steps": 2}, "x --gradient_accumulation_steps 2; make it 16"),
        ({"processes": 1}, "--per_device_train_batch_size 8 x 1 processes"),
    ],
)
def test_another_training_is_refused_with_what_differs(changes: dict[str, Any], said: str) -> None:
    assert said in refused(facts(), facts(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1.0},
        {"num_train_epochs": 9.0},
        {"save_steps": 5},
        {"model_max_length": 64},  # the digest of the samples tells
        {"processes": 1, "per_device_train_batch_size": 16},
        {"processes": 1, "gradient_accumulation_steps": 2},
    ],
)
def test_how_long_how_fast_and_on_how_many_may_change(changes: dict[str, Any]) -> None:
    check(Path("checkpoint-7"), facts(), facts(**changes))


def test_what_was_written_is_read_to_the_bit(tmp_path: Path) -> None:
    assert read(lay(tmp_path / "checkpoint-7", facts())) == (AT, facts())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"progress": {"steps": 1}}'])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = lay(tmp_path / "checkpoint-7", facts())
    (path / STATE / PROGRESS).write_text(content)
    with pytest.raises(StartError, match=r"progress\.json cannot be read"):
        read(path)


def test_a_step_that_is_split_in_another_way_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same rows a step, but another order of samples inside the epoch."""
    learner = Learner(tiny_glm())
    optimiser = adam(learner)
    path = lay(tmp_path / "checkpoint-7", facts())
    save_state(path / STATE, learner, optimiser, alone())
    with caplog.at_level(logging.WARNING):
        now = facts(processes=1, gradient_accumulation_steps=2)
        assert resume(path, learner, optimiser, alone(), now) == AT
    (line,) = (each.getMessage() for each in caplog.records if "danlu" in each.name)
    assert "checkpoint-7 has 16 rows x 1 a step, and here it is 8 x 2" in line


def test_the_best_one_so_far_counts_where_it_can_be_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not there where a training goes on in another folder."""
    lay(tmp_path / "run/checkpoint-5", facts())
    assert with_known_best(AT, tmp_path / "run", alone()) == AT
    never = replace(AT, best_loss=None, best_step=0)
    assert with_known_best(never, tmp_path / "other", alone()) == never
    assert caplog.messages == []
    found = with_known_best(replace(AT, worse=2), tmp_path / "other", alone())
    assert found == replace(AT, best_loss=None, best_step=0, worse=0)
    assert "checkpoint-5, the best one so far, is not in" in caplog.text
