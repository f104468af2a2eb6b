"""Stop strings, against reading character by character."""

from hypothesis import example, given, strategies as st

from danlu.worker.stops import Stops

LETTERS = st.text("ab", max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def let_out(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    cutter = Stops(stops)
    text = "".join(map(cutter.feed, pieces))
    return text + cutter.flush(), cutter.hit


def by_character(stops: list[str], text: str) -> tuple[str, bool]:
    for end in range(len(text) + 1):
        ended = [s for s in stops if text[:end].endswith(s)]
        if ended:
            return text[: end - max(map(len, ended))], True
    return text, False


@given(stops=STOPS, pieces=st.lists(LETTERS, max_size=6))
@example(stops=["abc", "b"], pieces=["abc"])
@example(stops=["ab", "bab"], pieces=["ba", "b"])
def test_the_cut_does_not_depend_on_the_pieces(stops: list[str], pieces: list[str]) -> None:
    assert let_out(stops, pieces) == by_character(stops, "".join(pieces))


@given(stops=STOPS, pieces=st.lists(LETTERS, max_size=6))
def test_what_is_out_is_never_taken_back(stops: list[str], pieces: list[str]) -> None:
    whole, _ = by_character(stops, "".join(pieces))
    cutter, out = Stops(stops), ""
    for piece in pieces:
        out += cutter.feed(piece)
        assert whole.startswith(out)


def test_only_what_may_become_a_stop_is_held_back() -> None:
    cutter = Stops(["\nUser:"])
    assert cutter.feed("Hello.\nUs") == "Hello."
    assert cutter.feed("ually.") == "\nUsually."
    assert not cutter.hit


def test_nothing_comes_after_a_stop() -> None:
    cutter = Stops(["END"])
    assert (cutter.feed("oneENDtwo"), cutter.feed("three"), cutter.flush()) == ("one", "", "")
