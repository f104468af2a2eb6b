"""Errors: what a sentence makes of a stranger's words."""

import pytest

from danlu.adapters.errors import LONGEST_QUOTE, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chatglm2-6b", "chatglm2-6b"),
        ("模型 '1'", "模型 '1'"),
        ("a\nb\x00", "a\\nb\\x00"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_words_stay_on_one_line(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_many_words_are_cut() -> None:
    assert shown("x" * LONGEST_QUOTE) == "x" * LONGEST_QUOTE
    assert shown("x" * (LONGEST_QUOTE + 1)) == "x" * (LONGEST_QUOTE - 3) + "..."
    assert len(shown("x\n" * 10_000)) == LONGEST_QUOTE
