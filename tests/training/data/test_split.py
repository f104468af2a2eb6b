"""What is kept for evaluation."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.training.data.split import split
from danlu.training.sample import Listed, Sample, Samples


def listed(count: int) -> Listed:
    return Listed(
        [Sample(np.array([i, i + 1], np.int32), np.array([False, True])) for i in range(count)]
    )


def firsts(samples: Samples) -> list[int]:
    return [int(samples[i].ids[0]) for i in range(len(samples))]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=40), st.floats(0.01, 0.99), st.integers(0))
def test_every_sample_is_on_one_side_and_those_of_a_record_are_together(
    sizes: list[int], share: float, seed: int
) -> None:
    records = np.repeat(np.arange(len(sizes)), sizes)
    count = round(len(sizes) * share)
    if not 0 < count < len(sizes):
        return
    samples = listed(len(records))
    train, kept = (firsts(side) for side in split(samples, share, seed, records=records))
    assert sorted(train + kept) == list(range(len(records)))
    assert train == sorted(train)
    of_train, of_kept = set(records[train].tolist()), set(records[kept].tolist())
    assert not of_train & of_kept
    assert len(of_kept) == count


def test_the_same_seed_keeps_the_same_and_another_one_others() -> None:
    samples = listed(50)
    one, same, other = (firsts(split(samples, 0.2, seed)[1]) for seed in (3, 3, 4))
    assert one == same != other


def test_a_part_has_lengths_and_a_digest_of_its_own() -> None:
    samples = listed(10)
    train, kept = split(samples, 0.3, 0)
    assert (train.lengths.tolist(), kept.lengths.tolist()) == ([2] * 7, [2] * 3)
    assert len({samples.digest, train.digest, kept.digest}) == 3
    assert split(samples, 0.3, 0)[0].digest == train.digest


def test_a_share_of_nothing_leaves_the_samples_as_they_are() -> None:
    samples = listed(3)
    train, kept = split(samples, 0, 1)
    assert train is samples
    assert len(kept) == 0


@pytest.mark.parametrize("share", [0.01, 0.99, 1.5])
def test_a_share_that_leaves_one_side_empty_is_refused(share: float) -> None:
    with pytest.raises(StartError, match=r"keeps \d+ of 10 records"):
        split(listed(10), share, 0)
