"""Directories of adapters: the flag's spelling, and what a request may name."""

from pathlib import Path

import pytest

from danlu.adapters.errors import BadRequest, StartError
from danlu.worker.adapter_paths import check_paths, named_paths, path_below


def test_the_flag_gives_each_directory_a_name(tmp_path: Path) -> None:
    flag = (f"poet={tmp_path}", f"clerk = {tmp_path}/a=b")
    assert list(named_paths(flag)) == [("poet", tmp_path), ("clerk", tmp_path / "a=b")]


@pytest.mark.parametrize("flag", ["poet", "=/x", "poet=", ""])
def test_half_a_pair_is_refused(flag: str) -> None:
    with pytest.raises(StartError, match="--adapters wants name=directory, not"):
        check_paths((flag,), "")


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="has 'a' twice"):
        check_paths((f"a={tmp_path}", f"a={tmp_path}"), "")


def test_a_directory_that_is_none_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="a=.*: that is no directory"):
        check_paths((f"a={tmp_path / 'x'}",), "")
    with pytest.raises(StartError, match="--adapter-dir .* is no directory"):
        check_paths((), str(tmp_path / "x"))
    check_paths((f"a={tmp_path}",), str(tmp_path))


def test_a_request_names_a_directory_below(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for path in ("in/deep", "in/../in/deep", str(tmp_path / "in" / "deep")):
        assert path_below(str(tmp_path), path) == tmp_path / "in" / "deep"


def test_a_request_names_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "homely").mkdir()
    (tmp_path / "home" / "out").symlink_to(tmp_path / "homely")
    for path in ("..", "../homely", "/etc", ".", "", "out", str(tmp_path / "homely"), "a\0b"):
        with pytest.raises(BadRequest, match="does not lie below"):
            path_below(str(tmp_path / "home"), path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match="'file' is no directory of an adapter"):
        path_below(str(tmp_path), "file")


def test_a_name_that_no_file_can_have_is_no_directory(tmp_path: Path) -> None:
    for path in ("a" * 300, "/".join(["a"] * 4000)):
        with pytest.raises(BadRequest, match="is no directory of an adapter"):
            path_below(str(tmp_path), path)
