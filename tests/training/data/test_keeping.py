"""Samples stay in the cache as long as they are used, and while there is room."""

import fcntl
import os
from pathlib import Path

from hypothesis import given, strategies as st

from danlu.training.data.keeping import NAME, Left, hold, sweep, too_many

lefts = st.builds(
    Left,
    st.from_regex("[a-z]{1,4}", fullmatch=True).map(Path),
    st.integers(0, 9),
    st.integers(0, 50),
)


@given(st.lists(lefts, max_size=8), st.integers(0, 150))
def test_no_more_goes_than_must_and_that_longest_unused(left: list[Left], most: int) -> None:
    going = too_many(left, most)
    stays = [one for one in left if not any(one is other for other in going)]
    assert sum(one.size for one in stays) <= most
    assert all(gone.used <= one.used for gone in going for one in stays)
    if going:
        assert sum(one.size for one in stays) + going[-1].size > most


def lay(root: Path, name: str, *, size: int, used: float) -> Path:
    folder = root / f"{NAME}{name}"
    folder.mkdir(parents=True)
    (folder / "ids").write_bytes(bytes(size))
    os.utime(folder, (used, used))
    return folder


def there(root: Path) -> list[str]:
    """All folders, those that are being made or deleted included."""
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_those_used_last_stay(tmp_path: Path) -> None:
    one, two, three = (lay(tmp_path, n, size=10, used=u) for n, u in (("a", 3), ("b", 1), ("c", 2)))
    assert sweep(tmp_path, most=20) == [two]
    assert there(tmp_path) == [one.name, three.name]
    assert sweep(tmp_path, most=20) == []


def test_one_that_is_held_stays_and_counts_as_used(tmp_path: Path) -> None:
    old, new = lay(tmp_path, "old", size=10, used=1), lay(tmp_path, "new", size=10, used=2)
    held = hold(old)
    assert held is not None
    assert sweep(tmp_path, most=10) == [new]
    assert sweep(tmp_path, most=0) == []
    again = hold(old)
    del held
    assert sweep(tmp_path, most=0) == [], "another one holds it"
    del again
    assert sweep(tmp_path, most=0) == [old]


def test_what_somebody_has_deleted_cannot_be_held_and_locks_nobody_out(tmp_path: Path) -> None:
    gone = lay(tmp_path, "gone", size=1, used=1)
    sweep(tmp_path, most=0)
    assert hold(gone) is None
    lay(tmp_path, "gone", size=1, used=1)
    assert sweep(tmp_path, most=0) == [gone]


def test_what_was_never_finished_goes_unless_it_is_being_made(tmp_path: Path) -> None:
    for name in ("left", "made"):
        lay(tmp_path, name, size=1, used=1).rename(tmp_path / f".{NAME}{name}.making")
    with (tmp_path / f".{NAME}made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(tmp_path)
    assert there(tmp_path) == [f".{NAME}made.making"]


def test_nothing_but_samples_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert sweep(tmp_path, most=0) == [] and there(tmp_path) == ["model"]


def test_a_cache_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert sweep(tmp_path / "none") == []


def test_where_nothing_can_be_locked_samples_are_used_all_the_same(tmp_path: Path) -> None:
    folder = lay(tmp_path, "a", size=10, used=1)
    (tmp_path / f".{folder.name}.used").mkdir()  # no file, so it cannot be opened
    assert hold(folder) is not None
    assert sweep(tmp_path, most=0) == []
    folder.rename(tmp_path / "elsewhere")
    assert hold(folder) is None


def test_what_an_interrupted_sweep_has_left_is_deleted(tmp_path: Path) -> None:
    going = tmp_path / f".{NAME}a.going"
    going.mkdir()
    (going / "ids").write_bytes(bytes(9))
    assert sweep(tmp_path) == []
    assert not going.exists()
