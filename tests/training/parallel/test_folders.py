"""Which checkpoints of a run are whole, and which of them stay."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.adapters.models.directory import new_directory
from danlu.training.parallel.folders import (
    PROGRESS,
    STATE,
    checkpoints,
    hidden,
    latest,
    outdated,
    put,
    remove,
    sweep,
    to_resume,
)

STEPS = st.lists(st.integers(1, 50), unique=True)


def whole(path: Path) -> Path:
    (path / STATE).mkdir(parents=True)
    (path / STATE / PROGRESS).write_text("{}")
    return path


def lay(folder: Path, *files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in files:
        (folder / name).write_text(folder.name)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_checkpoints_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    made = [whole(tmp_path / f"checkpoint-{step}") for step in (10, 9, 100)]
    assert checkpoints(tmp_path) == [made[1], made[0], made[2]]
    assert latest(tmp_path) == made[2]


def test_what_is_not_whole_or_called_otherwise_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    whole(tmp_path / "checkpoint-best")
    whole(hidden(tmp_path / "checkpoint-6", "making"))
    assert checkpoints(tmp_path) == []
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None


def test_a_run_goes_on_from_its_latest_from_another_or_from_none(tmp_path: Path) -> None:
    first, last = whole(tmp_path / "checkpoint-1"), whole(tmp_path / "checkpoint-2")
    assert to_resume("auto", tmp_path) == last
    assert to_resume(str(first), tmp_path) == first
    assert to_resume("no", tmp_path) is None
    assert to_resume("auto", tmp_path / "new") is None


def test_a_checkpoint_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    whole(tmp_path / "checkpoint-1")
    with pytest.raises(StartError, match=r"no training/progress\.json; .* there are checkpoint-1$"):
        to_resume(str(tmp_path / "checkpoint-3"), tmp_path)


@given(STEPS, st.integers(0, 5), st.integers(1, 50) | st.none())
def test_the_latest_and_the_best_always_stay(
    steps: list[int], limit: int, best: int | None
) -> None:
    kept = set(steps) - set(outdated(steps, limit, best))
    assert not steps or max(steps) in kept
    assert best is None or best not in steps or best in kept


@given(STEPS, st.integers(1, 5), st.integers(1, 50) | st.none())
def test_as_many_stay_as_may_and_of_the_others_the_latest(
    steps: list[int], limit: int, best: int | None
) -> None:
    gone = outdated(steps, limit, best)
    kept = set(steps) - set(gone)
    two = limit == 1 and best in steps and best != max(steps)
    assert len(kept) == (2 if two else min(limit, len(steps)))
    assert gone == sorted(gone)
    assert all(step < other for step in gone for other in kept - {best})


def test_without_a_limit_all_stay() -> None:
    assert outdated([1, 2, 3], 0, None) == []


def test_what_was_in_the_making_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    kept = whole(tmp_path / "checkpoint-1")
    whole(hidden(tmp_path / "checkpoint-2", "making"))
    whole(hidden(tmp_path / "checkpoint-1", "going"))
    lay(hidden(tmp_path / "final", "making"), "config.json")
    lay(tmp_path / ".git", "HEAD")
    sweep(tmp_path)
    assert names(tmp_path) == {kept.name, ".git"}


def test_what_a_method_was_writing_is_swept_away_too(tmp_path: Path) -> None:
    """Left there it would be in the way of the same checkpoint the next time."""
    with pytest.raises(StartError), new_directory(hidden(tmp_path / "checkpoint-3", "making")):
        assert len(names(tmp_path)) == 1
        sweep(tmp_path)
        assert names(tmp_path) == set()


def test_a_checkpoint_is_removed_even_where_half_of_another_removal_lies(tmp_path: Path) -> None:
    gone = whole(tmp_path / "checkpoint-1")
    whole(hidden(gone, "going"))
    remove(gone)
    assert names(tmp_path) == set()


def test_a_new_model_takes_an_older_ones_place_and_leaves_the_run_alone(tmp_path: Path) -> None:
    run = lay(tmp_path / "run", "config.json", "notes.txt", "model.safetensors.index.json")
    lay(run, "model-00001-of-00002.safetensors", "pytorch_model.bin", "adapter_model.safetensors")
    lay(run, "mine.bin", "my_model.safetensors")
    whole(run / "checkpoint-1")
    put(lay(tmp_path / "made", "config.json", "model.safetensors"), run)
    assert names(run) == {
        *("config.json", "notes.txt", "model.safetensors", "checkpoint-1"),
        *("mine.bin", "my_model.safetensors"),
    }
    assert (run / "config.json").read_text() == "made"


def test_a_folder_of_an_older_model_gives_way_to_the_new_ones(tmp_path: Path) -> None:
    for name in ("run", "made"):
        lay(tmp_path / name)
        lay(tmp_path / name / "templates", f"of-{name}")
    put(tmp_path / "made", tmp_path / "run")
    assert names(tmp_path / "run" / "templates") == {"of-made"}


def test_ended_midway_there_is_nothing_that_looks_like_a_model(tmp_path: Path) -> None:
    run = lay(tmp_path / "run", "config.json")
    made = lay(tmp_path / "made", "config.json", "model.safetensors", "z.txt")
    (run / "z.txt").mkdir()  # so that the last file but one cannot be put
    (run / "z.txt" / "full").write_text("")
    with pytest.raises(OSError):
        put(made, run)
    assert names(run) == {"model.safetensors", "z.txt"}
