"""Prompts of a load."""

import random
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.bench.prompts import Span, asked, made, prompts_of


def chance() -> random.Random:
    return random.Random(1)


@pytest.mark.parametrize(
    ("text", "low", "high", "shown"), [("8", 8, 8, "8"), ("4-6", 4, 6, "4-6"), ("7-7", 7, 7, "7")]
)
def test_a_span_is_a_number_or_a_range(text: str, low: int, high: int, shown: str) -> None:
    span = Span(text)
    assert (span.low, span.high, str(span)) == (low, high, shown)
    assert {span.draw(chance()) for _ in range(50)} <= set(range(low, high + 1))


@pytest.mark.parametrize("text", ["", "0", "-1", "9-3", "a", "1-", "1.5"])
def test_what_is_neither_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(StartError, match=r"not|rises"):
        Span(text)


def test_made_prompts_have_as_many_words_as_asked_for_and_differ() -> None:
    questions = made(20, Span("5-9"), Span("3"), chance())
    assert {len(question.prompt.split()) for question in questions} == {5, 6, 7, 8, 9}
    assert len({question.prompt for question in questions}) == 20
    assert {question.tokens for question in questions} == {3}


def test_the_same_seed_makes_the_same_prompts() -> None:
    assert made(3, Span("4"), Span("1-9"), chance()) == made(3, Span("4"), Span("1-9"), chance())


def test_prompts_of_a_file_are_its_lines_in_turn(tmp_path: Path) -> None:
    file = tmp_path / "prompts"
    file.write_text("你好\n\nWho are you?\n", encoding="utf-8")
    questions = asked(prompts_of(file), 3, Span("2"), chance())
    assert [question.prompt for question in questions] == ["你好", "Who are you?", "你好"]


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name, reason in [("empty", "is empty"), ("bytes", "no UTF-8"), ("none", "No such file")]:
        with pytest.raises(StartError, match=reason):
            prompts_of(tmp_path / name)
