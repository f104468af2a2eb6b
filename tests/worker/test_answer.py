"""One sequence's tokens as pieces, told by hand."""

from support.tiny import byte_level_tokenizer

from danlu.worker.answer import Answer
from danlu.worker.draw import Choice
from danlu.worker.job import Job
from danlu.worker.vocabulary import Vocabulary

TOKENIZER = byte_level_tokenizer()
ECHO = "What is in the box?"
PROMPT = tuple(TOKENIZER.encode(ECHO))


def test_what_is_told_again_of_the_prompt_is_published_once() -> None:
    """A step that failed when its prompt was scored already is run a second time."""
    job = Job(PROMPT, 5, logprobs=1, prompt_logprobs=0, echo=ECHO)
    answer = Answer(job, Vocabulary(TOKENIZER))
    first, *rest = PROMPT
    for value in (-2.0, -1.0):
        answer.quote([Choice(first), *(Choice(token, value, (), 4) for token in rest)])
    answer.add(Choice(rest[0], -3.0))
    piece = answer.piece(None)
    assert piece is not None and piece.logprobs is not None and piece.prompt_logprobs is not None
    assert piece.logprobs.token_logprobs == [None, *[-1.0] * len(rest), -3.0]
    told = [
        place and place[token].rank
        for token, place in zip(PROMPT, piece.prompt_logprobs, strict=True)
    ]
    assert told == [None, *[4] * len(rest)]
