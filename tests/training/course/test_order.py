"""Which samples when: pure, and for all lengths, processes and sizes of batches."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from danlu.training.course.order import Step, deal, epoch_order, fixed_order, tokens_of

LENGTHS = st.lists(st.integers(2, 40), max_size=60)
SIZES = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 4),
        "ranks": st.integers(1, 4),
        "accumulation": st.integers(1, 3),
        "grouped": st.booleans(),
        "packed_length": st.none() | st.integers(16, 50),
    }
)


def an_order(lengths: list[int], **how: Any) -> list[Step]:
    """An epoch for one process, a sample at a time, if nothing else is said."""
    plain: dict[str, Any] = {"rows": 1, "ranks": 1, "accumulation": 1, "grouped": False}
    known = {"epoch": 0, "seed": 42, **plain, **how}
    return epoch_order(np.array(lengths, dtype=np.int64), **known)


def samples_of(steps: list[Step]) -> list[int]:
    return [
        sample
        for step in steps
        for rank in step.ranks
        for micro in rank
        for row in micro
        for sample in row
    ]


@given(LENGTHS, SIZES, st.integers(0, 3))
def test_every_sample_is_learned_once_an_epoch(
    lengths: list[int], sizes: dict[str, Any], epoch: int
) -> None:
    found = samples_of(an_order(lengths, epoch=epoch, **sizes))
    assert sorted(found) == list(range(len(lengths)))


@given(LENGTHS, SIZES)
def test_all_processes_make_as_many_passes_and_none_takes_more_rows_than_it_may(
    lengths: list[int], sizes: dict[str, Any]
) -> None:
    for step in an_order(lengths, **sizes):
        assert len(step.ranks) == sizes["ranks"]
        (passes,) = {len(rank) for rank in step.ranks}
        assert 1 <= passes <= sizes["accumulation"]
        assert all(len(micro) <= sizes["rows"] for rank in step.ranks for micro in rank)
        assert step.ranks[0][0], "the first process always has something"


@given(LENGTHS, SIZES)
def test_only_the_last_step_is_smaller(lengths: list[int], sizes: dict[str, Any]) -> None:
    whole = sizes["rows"] * sizes["ranks"] * sizes["accumulation"]
    for step in an_order(lengths, **sizes)[:-1]:
        assert sum(len(micro) for rank in step.ranks for micro in rank) == whole


@given(LENGTHS, SIZES)
def test_rows_hold_no_more_than_fits_and_several_samples_only_where_they_are_packed(
    lengths: list[int], sizes: dict[str, Any]
) -> None:
    room = sizes["packed_length"]
    for step in an_order(lengths, **sizes):
        for row in (row for rank in step.ranks for micro in rank for row in micro):
            if len(row) > 1:
                assert room is not None
                assert sum(lengths[i] for i in row) <= room


def test_an_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = list(range(2, 40))
    assert an_order(lengths, epoch=3) == an_order(lengths, epoch=3)
    assert an_order(lengths, epoch=3) != an_order(lengths, epoch=4)
    assert an_order(lengths, epoch=3) != an_order(lengths, epoch=3, seed=43)


def test_samples_of_similar_length_go_together_in_an_order_drawn_anew() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(2, 500, 800)]
    orders = [an_order(lengths, epoch=e, rows=8, grouped=True) for e in (0, 1)]
    for steps in orders:
        assert _padding(steps, lengths) < 0.05
    assert _padding(an_order(lengths, rows=8), lengths) > 0.3
    batches = [{frozenset(samples_of([step])) for step in steps} for steps in orders]
    assert len(batches[0] & batches[1]) < 5


def test_the_batch_that_takes_most_memory_comes_first() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(2, 500, 203)]
    for epoch in range(5):
        steps = an_order(lengths, epoch=epoch, rows=4, grouped=True)
        assert max(lengths[i] for i in samples_of(steps[:1])) == max(lengths)


def test_processes_get_about_as_many_tokens_in_a_step() -> None:
    lengths: list[int] = np.random.default_rng(0).integers(2, 500, 512).tolist()
    for step in an_order(lengths, rows=8, ranks=4, grouped=False):
        tokens = [sum(tokens_of(row, lengths) for row in rank[0]) for rank in step.ranks]
        assert max(tokens) < 1.4 * min(tokens)


def test_packing_leaves_hardly_any_padding() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(8, 400, 3000)]
    steps = an_order(lengths, packed_length=512)
    assert _padding(steps, lengths, room=512) < 0.03
    assert len(steps) < 0.45 * len(lengths)


def test_a_sample_that_is_longer_than_a_row_has_one_to_itself() -> None:
    steps = an_order([30, 5, 5], packed_length=10)
    assert Counter(len(samples_of([step])) for step in steps) == {1: 1, 2: 1}


def test_rows_are_dealt_forth_and_back() -> None:
    lengths = [10, 9, 8, 7, 6]
    assert deal([(i,) for i in range(5)], lengths, 2) == (((0,), (3,), (4,)), ((1,), (2,)))
    assert deal([(0,)], lengths, 3) == (((0,),), (), ())


@given(LENGTHS, st.integers(1, 4), st.integers(1, 4))
def test_evaluation_sees_every_sample_once_the_longest_first(
    lengths: list[int], rows: int, ranks: int
) -> None:
    steps = fixed_order(np.array(lengths, dtype=np.int64), rows=rows, ranks=ranks)
    assert sorted(samples_of(steps)) == list(range(len(lengths)))
    longest = [max(lengths[i] for i in samples_of([step])) for step in steps]
    assert longest == sorted(longest, reverse=True)


def _padding(steps: list[Step], lengths: list[int], room: int = 0) -> float:
    """The part of all rows that is padding."""
    padded = read = 0
    for micro in (micro for step in steps for rank in step.ranks for micro in rank):
        tokens = [sum(lengths[i] for i in row) for row in micro]
        padded += len(micro) * max(room, *tokens, 0)
        read += sum(tokens)
    return 1 - read / padded


@pytest.mark.parametrize("grouped", [False, True])
def test_no_samples_are_no_steps(grouped: bool) -> None:
    assert an_order([], grouped=grouped) == []
