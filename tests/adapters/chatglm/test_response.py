"""The finish that ChatGLM2 gives an answer, on text that comes in pieces."""

from hypothesis import given, strategies as st

from danlu.adapters.models.chatglm.response import MARK, MEANT, Ending, Wording

PARTS = st.sampled_from([MARK, MARK[:3], MARK[2:], "[", "]", " ", "\n", "\u3000", "你好", "2023年"])
PIECES = st.lists(st.lists(PARTS, max_size=3).map("".join) | st.sampled_from([*MARK]), max_size=12)


def whole(text: str) -> str:
    """What the original makes of a finished answer."""
    return text.strip().replace(MARK, MEANT)


def finished(pieces: list[str], *, begun: bool = False) -> str:
    wording, ending = Wording(begun=begun), Ending()
    out = [ending.feed(wording.feed(piece)) for piece in pieces]
    return "".join([*out, ending.feed(wording.flush()), ending.flush()])


@given(pieces=PIECES)
def test_however_it_is_cut_the_text_is_the_originals(pieces: list[str]) -> None:
    assert finished(pieces) == whole("".join(pieces))


@given(text=st.text("[]训练时间 好\n", max_size=30))
def test_character_by_character_too(text: str) -> None:
    assert finished([*text]) == whole(text)


@given(pieces=PIECES)
def test_an_answer_that_goes_on_keeps_the_space_it_begins_with(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert finished(pieces, begun=True) == text.replace(MARK, MEANT).rstrip()


@given(pieces=PIECES)
def test_nothing_is_held_back_but_white_space_and_the_beginning_of_the_mark(
    pieces: list[str],
) -> None:
    wording, ending = Wording(), Ending()
    out = ""
    for number, piece in enumerate(pieces, 1):
        out += ending.feed(wording.feed(piece))
        missing = whole("".join(pieces[:number])).removeprefix(out).strip()
        assert MARK.startswith(missing)


def test_what_is_held_is_counted_as_no_more_than_it_may_come_to() -> None:
    wording = Wording()
    assert [(wording.feed(c), wording.held) for c in "a[[训练时间]"][-2:] == [("", 5), ("", 5)]
    assert wording.feed("]") == MEANT
    assert wording.held == 0
