"""What stood after the same tokens before is found as by reading the whole text each time."""

from hypothesis import given, strategies as st

from danlu.worker.lookup import LONGEST, Lookup, Match

texts = st.lists(st.integers(0, 3), max_size=60)


def found_by_reading(text: list[int], end: int) -> Match | None:
    for length in range(min(LONGEST, end), 0, -1):
        for place in range(end - 1, length - 1, -1):
            if text[place - length : place] == text[end - length : end]:
                return Match(length, place)
    return None


@given(texts, st.data())
def test_it_finds_the_longest_run_at_the_last_place_where_it_stood(
    text: list[int], data: st.DataObject
) -> None:
    """Whatever ends are asked for, as long as they do not fall, and while the text grows."""
    ends = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    growing: list[int] = []
    lookup = Lookup(growing)
    for end in ends:
        growing += text[len(growing) : end]
        assert lookup.find(end) == found_by_reading(text, end)


@given(texts.filter(len), st.integers(0, 20))
def test_what_it_goes_on_with_is_copied_token_by_token(text: list[int], count: int) -> None:
    """Also past the end, where it copies what it has copied."""
    lookup, end = Lookup(text), len(text)
    match = lookup.find(end)
    if match is None:
        return
    copied = list(text)
    for number in range(count):
        copied.append(copied[match.place + number])
    assert lookup.goes_on(match, end, count) == copied[end:]


@given(texts, st.integers(1, 7))
def test_it_makes_no_difference_in_how_many_parts_a_text_is_noted(
    text: list[int], most: int
) -> None:
    lookup, parts = Lookup(text), 1
    while not lookup.ready(len(text), most):
        parts += 1
    assert parts == max(-(-(len(text) - 1) // most), 1)
    assert lookup.find(len(text)) == found_by_reading(text, len(text))


def test_the_beginning_of_a_passage_brings_its_rest() -> None:
    lookup = Lookup([5, 6, 7, 8, 9, 1, 2, 6, 7])
    assert lookup.find(9) == Match(2, 3)
    assert lookup.goes_on(Match(2, 3), 9, 3) == [8, 9, 1]


def test_of_two_places_the_later_one_counts_and_a_longer_run_more_than_that() -> None:
    assert Lookup([1, 2, 8, 2, 9, 2]).find(6) == Match(1, 4)
    assert Lookup([1, 2, 8, 2, 9, 1, 2]).find(7) == Match(2, 2)


def test_a_new_text_repeats_nothing() -> None:
    assert Lookup([1, 2, 3]).find(3) is None
    assert Lookup([]).find(0) is None


def test_one_token_again_and_again_is_guessed_as_often_as_is_wished() -> None:
    lookup = Lookup([4, 4])
    match = lookup.find(2)
    assert match == Match(1, 1)
    assert lookup.goes_on(match, 2, 5) == [4] * 5
