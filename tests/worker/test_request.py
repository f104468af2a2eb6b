"""What one request makes of the tokens that it is given."""

import json
from collections.abc import Sequence as Ids
from typing import Any

import pytest
import torch
from support.card import card
from support.tiny import byte_level_tokenizer

from danlu.adapters.errors import ServeError
from danlu.worker.answer import Answer
from danlu.worker.drafting import Drafter
from danlu.worker.draw import Choice
from danlu.worker.grammar import Grammars
from danlu.worker.job import Job, Piece
from danlu.worker.request import Request
from danlu.worker.scheduler import Chunk
from danlu.worker.sequence import Sequence
from danlu.worker.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("bound")
HERE = torch.device(card())
TOKENIZER = byte_level_tokenizer()
SIZE = len(TOKENIZER)
END = TOKENIZER.eos_token_id
PROMPT = tuple(TOKENIZER.encode("What is in the box?"))
CHEAP, DEAR = 1e-6, 1.0


class Box:
    """One that keeps what is put."""

    abandoned = False

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    def put(self, piece: Piece) -> None:
        self.pieces.append(piece)

    def close(self, error: ServeError | None = None) -> None:
        raise AssertionError("a request closes no box")


def a_request(prompt: Ids[int] = PROMPT, *, guesses: int = 0, **facts: Any) -> Request:
    job = Job(tuple(prompt), **{"max_new_tokens": 20, **facts})
    scored = job.scored is not None
    most = len(prompt) + job.max_new_tokens
    sequence = Sequence(prompt, most=most, scored=scored)
    grammars = Grammars(TOKENIZER, SIZE, frozenset({END}))
    return Request(
        job,
        Box(),
        sequence,
        Answer(job, Vocabulary(TOKENIZER)),
        None if job.grammar is None else grammars.begin(job.grammar),
        quoted=[Choice(prompt[0])] if scored else [],
        drafter=Drafter(sequence.tokens, len(prompt), guesses) if guesses else None,
    )


def pieces(request: Request) -> list[Piece]:
    assert isinstance(request.box, Box)
    return request.box.pieces


def lark(rule: str) -> str:
    return json.dumps({"grammars": [{"lark_grammar": rule}]})


def test_its_tokens_become_its_sequence_and_its_pieces_until_it_is_over() -> None:
    request = a_request(max_new_tokens=3)
    ids = TOKENIZER.encode("abc", add_special_tokens=False)
    assert len(ids) == 3 and request.produced == 0
    assert [request.publish(Choice(token)) for token in ids] == [None, None, "length"]
    assert request.sequence.tokens == [*PROMPT, *ids]
    assert request.produced == 3
    assert "".join(piece.text for piece in pieces(request)) == "abc"
    assert pieces(request)[-1].finish_reason == "length"


def test_it_is_over_with_the_last_token_that_its_grammar_allows() -> None:
    request = a_request(grammar=lark('start: "ab"'))
    (first, second) = TOKENIZER.encode("ab", add_special_tokens=False)
    assert request.mask() is not None
    assert [request.publish(Choice(token)) for token in (first, second)] == [None, "stop"]


def test_a_grammar_that_cannot_be_followed_is_its_own_trouble() -> None:
    request = a_request(grammar=lark('start: "ab"'))
    (wrong,) = TOKENIZER.encode("x", add_special_tokens=False)
    with pytest.raises(ServeError, match="structure cannot be followed"):
        request.publish(Choice(wrong))
    assert request.trouble is None
    assert request.mask() is None
    assert "structure cannot be followed" in str(request.trouble)
    assert request.trouble is not None and request.trouble.__traceback__ is None


def test_without_a_grammar_everything_is_allowed() -> None:
    assert a_request().mask() is None


def test_its_prompt_is_quoted_once_it_is_scored_whole_and_parts_may_be_scored_again() -> None:
    request = a_request(prompt_logprobs=0, max_new_tokens=1)
    half = len(PROMPT) // 2
    logits = torch.zeros(len(PROMPT), SIZE, device=HERE)
    for start, end in ((0, half), (0, half), (half, len(PROMPT))):
        request.score(Chunk(request.sequence, start, end), logits[start:end])
    assert [choice.token for choice in request.quoted] == list(PROMPT)
    assert request.quoted[0].logprob is None
    request.publish(Choice(PROMPT[0]))
    told = pieces(request)[0].prompt_logprobs
    assert told is not None and len(told) == len(PROMPT)


def test_a_prompt_that_gives_no_numbers_is_its_own_trouble() -> None:
    request = a_request(prompt_logprobs=0)
    logits = torch.full((len(PROMPT), SIZE), float("nan"), device=HERE)
    request.score(Chunk(request.sequence, 0, len(PROMPT)), logits)
    assert request.trouble is not None and request.trouble.__traceback__ is None
    assert len(request.quoted) == 1


def test_a_sequence_with_a_draft_is_awaited_and_one_whose_guesses_are_too_dear_is_not() -> None:
    request = a_request([5, 6, 7, 8, 5, 6, 7], guesses=4)
    request.redraft(CHEAP)
    assert request.draft[0] == 8 and request.sequence.awaited
    request.redraft(DEAR)
    assert request.draft == [] and not request.sequence.awaited


def test_no_more_is_guessed_than_may_still_come() -> None:
    request = a_request([5, 6, 7, 8, 5, 6, 7], guesses=4, max_new_tokens=3)
    request.redraft(CHEAP)
    assert len(request.draft) == 2


def test_who_looks_up_nothing_stays_as_it_is() -> None:
    request = a_request()
    request.sequence.awaited = True
    request.redraft(CHEAP)
    assert request.draft == [] and request.sequence.awaited
