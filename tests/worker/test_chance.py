"""A sequence's random numbers: the same for the same seed and place, otherwise like any others."""

from itertools import pairwise

from hypothesis import given, strategies as st

from danlu.worker.chance import STEPS, a_seed, chances

SEEDS = st.integers(-(2**63), 2**64 - 1)


@given(SEEDS, st.integers(0, 2**31))
def test_they_are_in_range_and_exact_in_single_precision(seed: int, produced: int) -> None:
    for chance in chances(seed, produced):
        assert 0 <= chance < 1
        assert (chance * STEPS).is_integer()


@given(SEEDS, st.integers(0, 2**31))
def test_seed_and_place_decide_alone(seed: int, produced: int) -> None:
    assert chances(seed, produced) == chances(seed, produced)
    assert chances(seed, produced) != chances(seed, produced + 1) != chances(seed + 1, produced)


def test_they_are_spread_evenly_along_a_sequence_and_across_seeds() -> None:
    for pairs in ([chances(7, i) for i in range(8000)], [chances(i, 7) for i in range(8000)]):
        for numbers in zip(*pairs, strict=True):
            counts = [sum(i <= 16 * n < i + 1 for n in numbers) for i in range(16)]
            assert sum((c - 500) ** 2 / 500 for c in counts) < 37.7  # chi-square, 15, 0.999


def test_neighbours_and_the_two_of_a_pair_have_nothing_to_do_with_each_other() -> None:
    pairs = [chances(3, i) for i in range(8000)]
    for couples in (pairs, list(pairwise(first for first, _ in pairs))):
        covariance = sum((a - 0.5) * (b - 0.5) for a, b in couples) / len(couples)
        assert abs(covariance) < 4 / 12 / len(couples) ** 0.5


def test_a_drawn_seed_is_new_each_time() -> None:
    assert a_seed() != a_seed()
