"""A directory is there whole or not at all."""

from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.adapters.models.directory import new_directory


def test_it_appears_when_all_is_written(tmp_path: Path) -> None:
    with new_directory(tmp_path / "a" / "out") as made:
        (made / "file").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "file").read_text() == "x"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


@pytest.mark.parametrize("exc", [OSError("no space"), RuntimeError("no space"), ValueError("x")])
def test_what_fails_leaves_nothing(tmp_path: Path, exc: Exception) -> None:
    with pytest.raises((StartError, ValueError)) as caught, new_directory(tmp_path / "out") as made:
        (made / "file").write_text("x")
        raise exc
    assert "out cannot be written: no space" in str(caught.value) or exc is caught.value
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_a_full_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(StartError, match="exists and is not empty"), new_directory(taken):
            raise AssertionError("never comes here")
    assert (tmp_path / "file").read_text() == "x"
