"""ChatGLM's answers from tokens to pieces: its finish, beside stop texts, echo and log-probs."""

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.glm import glm_tokenizer

from danlu.adapters.models.chatglm.response import MARK, MEANT
from danlu.worker.answer import Answer
from danlu.worker.draw import Choice
from danlu.worker.job import Job, Piece
from danlu.worker.vocabulary import Vocabulary

VOCABULARY = Vocabulary(glm_tokenizer())
PARTS = st.sampled_from([MARK, MARK[:4], "]", " ", "\n", "好", "👋", "STOP", "ST", "a", MEANT])
SAID = st.lists(PARTS, max_size=8).map("".join)


def tokens(text: str) -> list[int]:
    return [3 + byte for byte in text.encode()]  # the first pieces are the bytes


def pieces(ids: list[int], *, end: bool = True, interval: int = 1, **facts: Any) -> list[Piece]:
    """What comes of these tokens and, unless it is at its limit, of </s>."""
    job = Job(
        **{
            "prompt_ids": (5,),
            "max_new_tokens": len(ids) + end,
            "stop_ids": frozenset({2}),
            "finished": True,
            **facts,
        }
    )
    answer, out = Answer(job, VOCABULARY, interval), []
    for token in [*ids, 2]:
        finish = answer.add(Choice(token, -1.0))
        piece = answer.piece(finish)
        out += [piece] if piece else []
        if finish:
            return out
    raise AssertionError("it never ended")


def text(said: str, **facts: Any) -> str:
    return "".join(piece.text for piece in pieces(tokens(said), **facts))


@pytest.mark.parametrize("end", [True, False])
@given(said=SAID, interval=st.integers(1, 4))
def test_an_answer_is_finished_as_the_original_finishes_it(
    end: bool, said: str, interval: int
) -> None:
    said = said or "x"
    assert text(said, end=end, interval=interval) == said.strip().replace(MARK, MEANT)


@given(said=SAID)
def test_stop_texts_are_looked_for_in_what_a_reader_sees(said: str) -> None:
    seen = said.lstrip().replace(MARK, MEANT)
    assert text(said, stop=("STOP", "\n")) == seen.partition("STOP")[0].partition("\n")[0].rstrip()


def test_a_line_break_before_an_answer_does_not_stop_it() -> None:
    """ChatGLM3 begins every answer with one."""
    assert text("\n 好的\n再见", stop=("\n",)) == "好的"


def test_a_stop_may_be_the_date_that_was_filled_in() -> None:
    assert text(f"训练于{MARK}。", stop=("2023",)) == "训练于"


@given(said=SAID)
def test_a_raw_completion_is_left_as_it_is(said: str) -> None:
    assert text(said, finished=False, continues=True) == said


def test_an_echo_is_not_the_answer() -> None:
    assert text(f" 好{MARK} ", echo=f" {MARK} ") == f" {MARK} 好{MEANT}"


def test_an_answer_that_goes_on_keeps_its_first_space() -> None:
    cat = glm_tokenizer().encode("The cat", add_special_tokens=False)
    the, rest = cat[:-1], cat[-1:]
    going_on = pieces(rest, prompt_ids=tuple(the), continues=True)
    assert "".join(piece.text for piece in going_on) == " cat"


@given(said=SAID)
def test_log_probs_come_with_their_text_at_its_place(said: str) -> None:
    ids = tokens(said)
    out = pieces(ids, logprobs=0)
    entries = [piece.logprobs for piece in out if piece.logprobs]
    offsets = [offset for entry in entries for offset in entry.text_offset]
    assert sum(len(entry.tokens) for entry in entries) == len(ids)
    assert offsets == sorted(offsets)
    whole = said.strip().replace(MARK, MEANT)
    assert all(offset <= len(said.lstrip().replace(MARK, MEANT)) for offset in offsets)
    if MARK not in said and "👋" not in said:
        starts = [0, *accumulate(map(len, said.encode().decode()))]
        places = [max(start - len(said) + len(said.lstrip()), 0) for start in starts]
        assert set(offsets) <= set(places)
    assert "".join(piece.text for piece in out) == whole


def test_tokens_that_are_held_back_are_placed_after_those_before_them() -> None:
    out = pieces(tokens("a[[b[c"), logprobs=0)
    offsets = [at for piece in out if piece.logprobs for at in piece.logprobs.text_offset]
    assert offsets == [0, 1, 2, 3, 4, 5]


def test_tokens_after_the_date_are_placed_by_what_was_filled_in() -> None:
    out = pieces(tokens(f"a{MARK}b"), logprobs=0)
    offsets = [at for piece in out if piece.logprobs for at in piece.logprobs.text_offset]
    assert offsets[0] == 0
    assert offsets[-1] == len(f"a{MEANT}")
