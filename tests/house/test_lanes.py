"""How the tests are shared out to several processes."""

from pathlib import Path

from support.lanes import ALONE, LONGEST_FIRST, SHARING, turn_of, unit_of

import danlu

ROOT = Path(danlu.__file__).parent


def test_a_file_is_run_by_one_process() -> None:
    file = "tests/worker/test_app.py"
    assert unit_of(f"{file}::test_one[a::b]") == unit_of(f"{file}::TestTwo::test_it") == file


def test_files_that_share_running_programs_are_run_by_one_process() -> None:
    units = {unit_of(f"tests/e2e/test_{name}.py::test_it") for name in ("cancel", "load")}
    assert units == {"tests/e2e/"}


def test_what_starts_a_suite_of_its_own_is_a_unit_of_its_own() -> None:
    (file,) = ALONE
    assert unit_of(f"{file}::test_it[a]") != unit_of(f"{file}::test_it[b]")


def test_what_takes_minutes_begins() -> None:
    units = ["tests/adapters/test_cache.py", "tests/worker/test_app.py", f"{ALONE[0]}::test_it[a]"]
    assert sorted(units, key=turn_of) == units[::-1]


def test_what_is_named_is_there() -> None:
    assert [
        place for place in {*ALONE, *SHARING, *LONGEST_FIRST} if not (ROOT / place).exists()
    ] == []
