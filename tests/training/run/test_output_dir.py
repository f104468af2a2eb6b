"""Where a run may begin: nobody's work is overwritten unasked."""

from dataclasses import replace
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.training.run.output_dir import LOCK, OutputDir
from danlu.training.settings import TrainingSettings


def claim(settings: TrainingSettings) -> None:
    with OutputDir() as out:
        out.claim(settings)
        out.clear(settings)


def _settings(out: Path, **changes: object) -> TrainingSettings:
    settings = TrainingSettings(model_name_or_path="/models/base", output_dir=str(out))
    return replace(settings, **changes)  # type: ignore[arg-type]


def _checkpoint(out: Path, step: int = 3) -> Path:
    state = out / f"checkpoint-{step}" / "training"
    state.mkdir(parents=True)
    (state / "progress.json").write_text("{}")
    return state.parent


def _finished(out: Path) -> None:
    (out / "run").mkdir(parents=True)
    (out / "run/summary.json").write_text("{}")
    (out / "config.json").write_text("{}")


def test_a_new_directory_is_made(tmp_path: Path) -> None:
    claim(_settings(tmp_path / "a/b"))
    assert (tmp_path / "a/b/run").is_dir()


def test_files_of_the_users_own_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    claim(_settings(tmp_path, overwrite_output_dir=True))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_with_checkpoints_is_gone_on_with(tmp_path: Path) -> None:
    _finished(tmp_path)
    made = _checkpoint(tmp_path)
    claim(_settings(tmp_path))
    assert made.is_dir()


def test_a_run_that_died_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/log.jsonl").write_text("")
    claim(_settings(tmp_path))


def test_what_is_half_made_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / ".checkpoint-9.making").mkdir()
    claim(_settings(tmp_path))
    assert not (tmp_path / ".checkpoint-9.making").exists()


@pytest.mark.parametrize("checkpoints", [True, False])
def test_an_earlier_run_is_kept_unless_it_is_to_be_overwritten(
    tmp_path: Path, checkpoints: bool
) -> None:
    _finished(tmp_path)
    if checkpoints:
        _checkpoint(tmp_path)
    anew = _settings(tmp_path, resume_from_checkpoint="no")
    with pytest.raises(StartError, match="holds an earlier run.*--overwrite_output_dir True"):
        claim(anew)
    claim(replace(anew, overwrite_output_dir=True))
    assert not list(tmp_path.glob("checkpoint-*"))
    assert not (tmp_path / "run/summary.json").exists()


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_a_strangers_model_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(StartError, match=rf"holds a model \({name}\) that no training here wrote"):
        claim(_settings(tmp_path, overwrite_output_dir=True))


def test_another_programs_checkpoints_are_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-500").mkdir()
    with pytest.raises(StartError, match=r"checkpoint-500 was made by another program"):
        claim(_settings(tmp_path, overwrite_output_dir=True))
    assert (tmp_path / "checkpoint-500").is_dir()


def test_the_model_to_start_from_is_no_place_for_what_comes_of_it(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "x" / "..", model_name_or_path=str(tmp_path))
    (tmp_path / "x").mkdir()
    with pytest.raises(StartError, match="is the model to start from"):
        claim(settings)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="is a file; name a directory"):
        claim(_settings(tmp_path / "file"))
    with pytest.raises(StartError, match="cannot write to --output_dir .*: Not a directory"):
        claim(_settings(tmp_path / "file" / "below"))


def test_two_trainings_do_not_share_a_directory(tmp_path: Path) -> None:
    with OutputDir() as first:
        first.claim(_settings(tmp_path))
        with pytest.raises(StartError, match="another training runs in --output_dir"):
            claim(_settings(tmp_path, overwrite_output_dir=True))
    claim(_settings(tmp_path))


def test_the_lock_outlives_what_is_overwritten(tmp_path: Path) -> None:
    _finished(tmp_path)
    claim(_settings(tmp_path, overwrite_output_dir=True))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_an_earlier_run_is_there_until_the_new_one_can_begin(tmp_path: Path) -> None:
    _finished(tmp_path)
    made, anew = _checkpoint(tmp_path), _settings(tmp_path, overwrite_output_dir=True)
    with OutputDir() as out:
        out.claim(anew)
        assert made.is_dir() and (tmp_path / "run/summary.json").is_file()
        out.clear(anew)
        assert not made.exists() and not (tmp_path / "run/summary.json").exists()


def test_a_folder_in_the_runs_own_is_left_where_it_is(tmp_path: Path) -> None:
    _finished(tmp_path)
    (tmp_path / "run/mine").mkdir()
    claim(_settings(tmp_path, overwrite_output_dir=True))
    assert (tmp_path / "run/mine").is_dir()


def test_a_checkpoint_to_go_on_from_is_looked_for_at_once(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="is no checkpoint of a training"):
        claim(_settings(tmp_path / "out", resume_from_checkpoint=str(tmp_path / "checkpoint-3")))
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_to_begin_with_or_to_go_on_from_is_not_deleted(tmp_path: Path) -> None:
    made, other = _checkpoint(tmp_path / "out"), _checkpoint(tmp_path / "other")
    anew = _settings(tmp_path / "out", overwrite_output_dir=True, resume_from_checkpoint=str(made))
    with pytest.raises(StartError, match="would delete --resume_from_checkpoint .*checkpoint-3"):
        claim(anew)
    with pytest.raises(StartError, match="would delete --model_name_or_path .*checkpoint-3"):
        claim(_settings(tmp_path / "out", overwrite_output_dir=True, model_name_or_path=str(made)))
    claim(replace(anew, resume_from_checkpoint=str(other)))
    assert other.is_dir() and not made.exists()
