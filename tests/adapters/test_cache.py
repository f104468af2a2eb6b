"""What is kept in the cache is made once, whole or not at all."""

import threading
from pathlib import Path

import pytest

from danlu.adapters.cache import cache_root, kept
from danlu.adapters.errors import StartError

NAME = "cake"


class Baker:
    """Makes a directory with a file in it; `bakes` counts how often."""

    def __init__(self, fails: BaseException | None = None) -> None:
        self.fails = fails
        self.bakes = 0

    def __call__(self, making: Path) -> Path:
        self.bakes += 1
        out = making / "out"
        out.mkdir()
        (out / "half").touch()
        if self.fails is not None:
            raise self.fails
        (out / "half").rename(out / "whole")
        return out


def baked(root: Path, baker: Baker) -> Path:
    return kept(root, NAME, baker, say=lambda _: None)


def test_a_user_without_a_home_is_told_what_to_name() -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    with pytest.raises(StartError, match="DANLU_CACHE"):
        cache_root({}, nowhere)


def test_it_is_made_once_and_there_afterwards(tmp_path: Path) -> None:
    baker = Baker()
    first = baked(tmp_path / "new", baker)
    assert first == tmp_path / "new" / NAME
    assert [file.name for file in first.iterdir()] == ["whole"]
    assert baked(tmp_path / "new", baker) == first
    assert baker.bakes == 1


def test_where_it_is_now_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    found = kept(tmp_path, NAME, Baker(), say=said.append)
    assert said == [f"{NAME} is in {found}"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), StartError("burnt")])
def test_an_interrupted_run_leaves_nothing_that_is_taken_for_it(
    tmp_path: Path, reason: BaseException
) -> None:
    with pytest.raises(type(reason)):
        baked(tmp_path, Baker(fails=reason))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    assert (baked(tmp_path, Baker()) / "whole").is_file()


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    left = tmp_path / f".{NAME}.making" / "out"
    left.mkdir(parents=True)
    (left / "stale").touch()
    assert not (baked(tmp_path, Baker()) / "stale").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [NAME]


def test_a_second_run_waits_for_the_first_and_takes_what_that_made(tmp_path: Path) -> None:
    baker, second_waits = Baker(), threading.Event()
    found: list[Path] = []

    def say(text: str) -> None:
        assert text.startswith(f"another process is making {NAME}")
        second_waits.set()

    waiting = threading.Thread(target=lambda: found.append(kept(tmp_path, NAME, baker, say=say)))

    def slowly(making: Path) -> Path:
        waiting.start()
        assert second_waits.wait(30)
        return baker(making)

    kept(tmp_path, NAME, slowly, say=lambda _: None)
    waiting.join(30)
    assert found == [tmp_path / NAME]
    assert baker.bakes == 1


def test_two_things_do_not_wait_for_each_other(tmp_path: Path) -> None:
    def other(making: Path) -> Path:
        return kept(tmp_path, "pie", Baker(), say=lambda _: None)

    def both(making: Path) -> Path:
        other(making)
        return Baker()(making)

    kept(tmp_path, NAME, both, say=lambda _: None)
    assert (tmp_path / "pie" / "whole").is_file()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be written.*DANLU_CACHE"):
        baked(tmp_path / "file" / "cache", Baker())


def test_the_cache_is_the_users_unless_named() -> None:
    assert cache_root({"DANLU_CACHE": "/some/where"}) == Path("/some/where")
    assert cache_root({}) == Path.home() / ".cache" / "danlu"
