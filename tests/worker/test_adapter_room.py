"""How much memory is kept for adapters, and from whom."""

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.worker.adapter_room import SHARE, adapter_room
from danlu.worker.kv_room import GIB

bytes_free = st.integers(0, 1 << 40)


def test_where_no_adapter_is_and_none_may_come_nothing_is_kept() -> None:
    assert adapter_room(16 * GIB, 0, None, more=False) == 0


def test_those_of_the_start_get_what_they_take_and_no_more_where_none_may_come() -> None:
    assert adapter_room(16 * GIB, 12345, None, more=False) == 12345


def test_where_more_may_come_they_get_a_twentieth_of_the_rest() -> None:
    assert SHARE == 1 / 20
    assert adapter_room(21 * GIB, GIB, None, more=True) == 2 * GIB


@pytest.mark.parametrize("more", [False, True])
def test_what_is_said_is_kept(more: bool) -> None:
    assert adapter_room(16 * GIB, GIB, 1.5, more=more) == GIB * 3 // 2


def test_what_does_not_hold_those_of_the_start_is_an_error_that_says_what_would() -> None:
    with pytest.raises(StartError, match=r"^--adapter-memory 0.5 is too little: .* 1\.250 GiB;"):
        adapter_room(16 * GIB, GIB * 5 // 4, 0.5, more=True)


def test_what_is_not_there_is_an_error_that_says_what_is() -> None:
    with pytest.raises(StartError, match=r"^--adapter-memory 20 is too much: 16\.0 GiB are free"):
        adapter_room(16 * GIB, GIB, 20, more=True)


@given(free=bytes_free, taken=bytes_free, more=st.booleans())
def test_those_of_the_start_always_have_their_room_and_answers_most_of_the_rest(
    free: int, taken: int, more: bool
) -> None:
    room = adapter_room(free, taken, None, more=more)
    assert room >= taken
    assert room - taken <= max(free - taken, 0) * SHARE
