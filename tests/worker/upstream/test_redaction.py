"""No client reads where an upstream is, and nobody reads the key."""

import pytest
from hypothesis import given, strategies as st

from danlu.worker.upstream.redaction import PIECE, Redaction

NAME = "the upstream of cat"

letters = st.text("abc", max_size=12)


@given(letters, letters, letters, letters)
def test_no_piece_of_the_key_is_left_wherever_it_stood(
    key: str, before: str, after: str, other: str
) -> None:
    shown = Redaction(key=key).for_the_log(before + key[-PIECE:] + after + key + other)
    length = min(PIECE, len(key))
    pieces = [key[at : at + length] for at in range(len(key) - length + 1)] if key else []
    assert not any(piece in shown for piece in pieces)


@given(st.text(max_size=30))
def test_without_key_and_address_the_words_stay(words: str) -> None:
    assert Redaction().for_clients(words) == words


def test_the_words_around_a_key_stay() -> None:
    redaction = Redaction(key="sk-abcdef")
    assert redaction.for_the_log("key sk-abcdef, no: ...cdef") == "key ***, no: ...***"
    assert "sk-abcdef" not in repr(redaction)


@pytest.mark.parametrize(
    ("url", "words", "shown"),
    [
        ("http://up:9/v1", "POST http://up:9/v1/models failed", f"POST {NAME} failed"),
        ("http://up:9/v1", "(http://up:9/x) and 'up:9'", f"({NAME}) and '{NAME}'"),
        ("http://up:9/v1", "http://up:99/v1 and backup:9", "http://up:99/v1 and backup:9"),
        ("http://up/v1", "hurry up: http://up", f"hurry up: {NAME}"),
        ("http://u:p@up:9/v1", "http://u:p@up:9/v1, up:9", f"{NAME}, {NAME}"),
        ("https://up/v1", "https://uptown/v1 https://up.b/v1", "https://uptown/v1 https://up.b/v1"),
    ],
)
def test_the_address_becomes_the_name(url: str, words: str, shown: str) -> None:
    assert Redaction(NAME, url).for_clients(words) == shown
