"""What is promised fits into memory, and is of use."""

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.worker.kv_room import FEWEST, GIB, SHORTEST, Room, room

KIB = 1024


def test_what_is_left_beside_the_requests_keeps_prefixes_up_to_as_much_again() -> None:
    assert room(100 * KIB * KIB, KIB, 1024, 16) == Room(32, 1024, 16)
    assert room(21 * KIB * KIB, KIB, 1024, 16) == Room(20, 1024, 16)


def test_fewer_requests_run_at_a_time_where_memory_is_short() -> None:
    assert room(9 * KIB * KIB, KIB, 1024, 16) == Room(8, 1024, 8)


def test_before_there_are_fewer_than_four_each_gets_a_shorter_context() -> None:
    assert room(4 * KIB * KIB, KIB, 1024, 16) == Room(4, 4096 // 5, 4)


def test_one_request_that_was_asked_for_gets_the_whole_context() -> None:
    assert room(2 * KIB * KIB, KIB, 1024, 1) == Room(1, 1024, 1)


def test_memory_for_nothing_useful_is_an_error_that_says_how_much_is_missing() -> None:
    expected = (
        r"^0\.5 GiB are free for the memory of answers, and 4 of them with 256 tokens each need "
        r"1\.2; take a smaller model"
    )
    with pytest.raises(StartError, match=expected):
        room(GIB // 2, GIB // 1024, 2048, 16)


def test_a_model_of_a_short_context_needs_no_more_than_that() -> None:
    assert room(5 * 100 * KIB, KIB, 100, 16) == Room(4, 100, 4)
    with pytest.raises(StartError, match="with 100 tokens each need"):
        room(5 * 100 * KIB - 1, KIB, 100, 16)


@given(
    memory=st.integers(0, 1 << 34),
    token_bytes=st.integers(1, 1 << 20),
    length=st.integers(1, 1 << 17),
    concurrency=st.integers(1, 64),
)
def test_what_is_promised_fits(
    memory: int, token_bytes: int, length: int, concurrency: int
) -> None:
    """The spare row included; and of refusals none is wrong."""
    least, fewest = min(SHORTEST, length), min(FEWEST, concurrency)
    try:
        found = room(memory, token_bytes, length, concurrency)
    except StartError:
        assert (fewest + 1) * least * token_bytes > memory
        return
    assert (found.slots + 1) * found.length * token_bytes <= memory
    assert fewest <= found.concurrency <= min(concurrency, found.slots)
    assert found.slots <= 2 * concurrency
    assert least <= found.length <= length
    if found.length < length:
        assert found.slots == fewest
