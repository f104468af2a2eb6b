"""Checkpoints are whole or not there; at the end the run's folder is a model that is served."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support.glm import PADDED, save_glm, vocab_file
from support.ranks import adam, alone, settings, step, whole
from support.tiny_glm import tiny_glm
from torch import Tensor

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.export import export_original
from danlu.adapters.models.loading import load_model
from danlu.training.course.precision import Precision
from danlu.training.learner import Learner
from danlu.training.methods.choice import method_for
from danlu.training.methods.method import base_of
from danlu.training.parallel.checkpoints import Checkpoints, Trained
from danlu.training.parallel.folders import STATE, checkpoints, latest
from danlu.training.parallel.loading import begin
from danlu.training.parallel.resuming import facts_of, resume
from danlu.training.progress import Progress

pytestmark = pytest.mark.slow


class Kept:
    """A training of one process whose checkpoints lie in folder/run."""

    def __init__(self, folder: Path, *, broken: Exception | None = None, **changes: Any) -> None:
        self.run = folder / "run"
        self.run.mkdir(exist_ok=True)
        told = settings(folder, **changes)
        method = method_for(told)
        begun = begin(told, alone(), method, Precision())
        base = base_of(folder / "model", begun.learner.model, begun.tokenizer)
        self.learner, self.optimiser = begun.learner, adam(begun.learner)
        self.broken = broken
        self.facts = facts_of(told, "samples", 1)

        def write(state: Mapping[str, Tensor], out: Path) -> None:
            if self.broken is not None:
                out.mkdir()
                raise self.broken
            method.write(state, base, out)

        self.keeper = Checkpoints(
            self.run,
            Trained(
                begun.learner, self.optimiser, write, None if method.keeps_base else base.dtype
            ),
            alone(),
            self.facts,
            limit=told.save_total_limit,
            keep_best=told.load_best_model_at_end,
        )

    def step(self, number: int) -> float:
        return step(number, self.learner, self.optimiser, alone())

    def steps_kept(self) -> list[str]:
        return [path.name for path in checkpoints(self.run)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_glm(tmp_path / "model")
    return tmp_path


def weights(learner: Learner) -> dict[str, Tensor]:
    return whole(learner, alone())


def loaded(path: Path) -> dict[str, Tensor]:
    """What a worker would serve."""
    model = load_model(path, "cpu").model
    return {f"model.{name}": tensor for name, tensor in model.named_parameters()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(tensor.equal(other[name]) for name, tensor in one.items())


def test_a_checkpoint_is_a_model_that_is_served(folder: Path) -> None:
    kept = Kept(folder)
    kept.step(0)
    saved = kept.keeper.save(Progress(step=1))
    assert saved == kept.run / "checkpoint-1" == latest(kept.run)
    assert_same(loaded(saved), weights(kept.learner))
    assert [path.name for path in kept.run.iterdir()] == ["checkpoint-1"]


def test_a_training_goes_on_from_it_to_the_bit(folder: Path) -> None:
    first, at = Kept(folder), Progress(step=1, tokens=5, best_loss=0.1)
    first.step(0)
    saved = first.keeper.save(at)
    second = Kept(folder)
    assert resume(saved, second.learner, second.optimiser, alone(), second.facts) == at
    assert [first.step(n) for n in (1, 2)] == [second.step(n) for n in (1, 2)]
    assert_same(weights(first.learner), weights(second.learner))


@pytest.mark.parametrize(
    "wrong", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write failed")]
)
def test_a_disk_that_is_full_ends_it_in_a_sentence_and_spoils_nothing(
    folder: Path, wrong: Exception
) -> None:
    kept = Kept(folder)
    saved = kept.keeper.save(Progress(step=1))
    before = loaded(saved)
    kept.broken = wrong
    kept.step(0)
    with pytest.raises(StartError, match=r"checkpoint-2.* cannot be written: .*(No space|failed)"):
        kept.keeper.save(Progress(step=2))
    assert [path.name for path in kept.run.iterdir()] == ["checkpoint-1"]
    assert_same(loaded(saved), before)
    kept.broken = None
    assert kept.keeper.save(Progress(step=2)).is_dir()


def test_only_so_many_stay_and_the_best_one(folder: Path) -> None:
    kept = Kept(folder, save_total_limit=2, load_best_model_at_end=True)
    for number in range(1, 5):
        kept.keeper.save(Progress(step=number, best_step=1))
    assert kept.steps_kept() == ["checkpoint-1", "checkpoint-4"]
    kept.keeper.save(Progress(step=5, best_step=5))
    assert kept.steps_kept() == ["checkpoint-4", "checkpoint-5"]


def test_one_that_was_made_of_another_course_is_replaced(folder: Path) -> None:
    """A run that goes on from an earlier checkpoint comes to the same steps again."""
    Kept(folder).keeper.save(Progress(step=1))
    again = Kept(folder)
    again.step(0)
    saved = again.keeper.save(Progress(step=1))
    assert_same(loaded(saved), weights(again.learner))
    assert again.steps_kept() == ["checkpoint-1"]


def test_a_later_one_that_another_course_left_is_not_counted(folder: Path) -> None:
    Kept(folder).keeper.save(Progress(step=9))
    again = Kept(folder, save_total_limit=1)
    again.keeper.save(Progress(step=1))
    again.keeper.save(Progress(step=2))
    assert again.steps_kept() == ["checkpoint-2", "checkpoint-9"]


def test_at_the_end_the_runs_folder_is_the_model(folder: Path) -> None:
    kept = Kept(folder)
    kept.keeper.save(Progress(step=1))
    kept.step(1)
    (kept.run / "run").mkdir()  # what else lies there
    (kept.run / "run" / "log.jsonl").write_text("")
    assert kept.keeper.publish(Progress(step=2)) == kept.run
    assert_same(loaded(kept.run), weights(kept.learner))
    assert not (kept.run / STATE).exists()


def test_what_was_saved_last_is_not_gathered_again(folder: Path) -> None:
    kept = Kept(folder)
    kept.keeper.save(Progress(step=1))
    kept.broken = AssertionError("it was written again")
    assert kept.keeper.save(Progress(step=1)) == kept.run / "checkpoint-1"
    kept.keeper.publish(Progress(step=1))
    assert_same(loaded(kept.run), loaded(kept.run / "checkpoint-1"))


def test_the_best_one_is_published_where_that_is_wanted(folder: Path) -> None:
    kept = Kept(folder)
    best = kept.keeper.save(Progress(step=1))
    kept.step(1)
    kept.keeper.save(Progress(step=2))
    kept.keeper.publish(Progress(step=2), best)
    assert_same(loaded(kept.run), loaded(best))
    assert kept.steps_kept() == ["checkpoint-1", "checkpoint-2"]


def test_weights_are_written_in_the_format_they_came_in(tmp_path: Path) -> None:
    model: Any = tiny_glm(vocabulary=PADDED)
    model.half()
    export_original(model, vocab_file(), tmp_path / "model")
    kept = Kept(tmp_path)
    assert {p.dtype for p in kept.learner.parameters()} == {torch.float32}
    saved = kept.keeper.save(Progress(step=1))
    assert load_model(saved, "cpu", dtype=None).model.config.dtype == torch.float16


def test_a_lora_is_written_as_one_and_goes_on(folder: Path) -> None:
    kept = Kept(folder, method="lora", lora_dropout=0.0)
    kept.step(0)
    saved = kept.keeper.save(Progress(step=1))
    assert (saved / "adapter_config.json").is_file()
    assert not list(saved.glob("model*"))
    again = Kept(folder, method="lora", lora_dropout=0.0)
    resume(saved, again.learner, again.optimiser, alone(), again.facts)
    assert kept.step(1) == again.step(1)
    kept.keeper.publish(Progress(step=1))
    assert (kept.run / "adapter_config.json").is_file()
