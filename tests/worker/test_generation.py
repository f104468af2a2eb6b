"""One job from its prompt to its last piece, on a tiny model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.card import twin
from support.tiny import CONTEXT, END, SPECIAL, byte_level_tokenizer, tiny_model

from danlu.adapters.errors import ServeError
from danlu.worker.generation import Generation
from danlu.worker.job import Job, Piece, Sampling
from danlu.worker.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("bound")

TOKENIZER = byte_level_tokenizer()
VOCABULARY = Vocabulary(TOKENIZER)
ECHO = "What is in the box?"
PROMPT = tuple(TOKENIZER.encode(ECHO))
NEW = 24


class Box(list[Piece]):
    """A reader who keeps everything."""

    def put(self, piece: Piece) -> None:
        self.append(piece)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self)


def a_job(**changes: Any) -> Job:
    facts: dict[str, Any] = {
        "prompt_ids": PROMPT,
        "max_new_tokens": NEW,
        "sampling": Sampling(temperature=0.0),
    }
    return Job(**{**facts, **changes})


def answered(
    job: Job, *, wanted: Callable[[], bool] = lambda: True, interval: int = 1, model: Any = None
) -> Box:
    box, model = Box(), model or twin(tiny_model)
    Generation(job, model, VOCABULARY, wanted=wanted, interval=interval).run(box)
    return box


def greedy_ids(count: int = NEW) -> list[int]:
    """What transformers' own loop says."""
    generate: Any = tiny_model().generate
    ids = generate(torch.tensor([PROMPT]), max_new_tokens=count, do_sample=False, eos_token_id=None)
    return list(ids[0, len(PROMPT) :].tolist())


def test_greedy_text_is_that_of_generate() -> None:
    box = answered(a_job())
    assert box.text == VOCABULARY.decode(greedy_ids())
    assert box[-1].finish_reason == "length"


def test_only_the_last_piece_has_a_reason_and_usage_is_exact() -> None:
    box = answered(a_job())
    assert [piece.finish_reason for piece in box[:-1]] == [None] * (len(box) - 1)
    usage = box[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (len(PROMPT), NEW)
    assert usage.total_tokens == len(PROMPT) + NEW


def test_a_stop_id_ends_the_answer_counts_and_has_no_text() -> None:
    ids = greedy_ids()
    stop = ids[10]
    first = ids.index(stop)
    box = answered(a_job(stop_ids=frozenset({stop})))
    assert box.text == VOCABULARY.decode(ids[:first])
    assert box[-1].finish_reason == "stop"
    assert box[-1].usage.completion_tokens == first + 1


def test_a_stop_text_is_cut_out_wherever_tokens_begin() -> None:
    whole = answered(a_job()).text
    stop = whole[5:8]
    box = answered(a_job(stop=(stop,)))
    assert box.text == whole[: whole.index(stop)]
    assert box[-1].finish_reason == "stop"


def test_what_was_held_back_for_a_stop_text_comes_with_the_last_piece() -> None:
    whole = answered(a_job()).text
    box = answered(a_job(stop=(whole[-3:] + "never",)))
    assert box.text == whole
    assert box[-1].finish_reason == "length"


def test_nothing_ends_an_answer_before_min_tokens() -> None:
    ids = greedy_ids()
    first = VOCABULARY.decode(ids)[:2]
    box = answered(a_job(stop=(first,), stop_ids=frozenset({ids[0]}), min_tokens=6))
    assert box[-1].usage.completion_tokens > 6


def test_an_echo_comes_before_the_answer_once() -> None:
    plain, echoed = answered(a_job()), answered(a_job(echo=ECHO))
    assert echoed.text == ECHO + plain.text
    assert echoed[-1].usage == plain[-1].usage


@pytest.mark.parametrize("interval", [2, 5, 100])
def test_pieces_come_at_the_interval_and_the_last_one_always(interval: int) -> None:
    box = answered(a_job(), interval=interval)
    counts = [piece.usage.completion_tokens for piece in box]
    assert all((count - 1) % interval == 0 for count in counts[:-1])
    assert counts[-1] == NEW
    assert box.text == answered(a_job()).text


def test_the_same_seed_says_the_same() -> None:
    warm = a_job(sampling=Sampling(seed=11))
    assert answered(warm).text == answered(warm).text
    assert answered(warm).text != answered(a_job(sampling=Sampling(seed=12))).text


def test_logprobs_are_published_with_their_text_and_point_at_it() -> None:
    halves = tuple((i, -100.0) for i in range(400) if "\ufffd" in VOCABULARY.decode([i]))
    sampling = Sampling(seed=4, logit_bias=halves)
    box = answered(a_job(logprobs=3, sampling=sampling, echo=ECHO, stop=("never",)))
    text, seen = box.text, ""
    for piece in box:
        seen += piece.text
        assert piece.logprobs is not None
        assert all(offset < len(seen) for offset in piece.logprobs.text_offset)
        assert all(top is None or 1 <= len(top) <= 3 for top in piece.logprobs.top_logprobs)
        for offset, token in zip(piece.logprobs.text_offset, piece.logprobs.tokens, strict=True):
            assert token in SPECIAL or text[offset:].startswith(token)


def test_an_echo_with_logprobs_shows_what_the_model_made_of_the_prompt() -> None:
    box = answered(a_job(logprobs=1, echo=ECHO, max_new_tokens=1))
    shown = box[0].logprobs
    assert shown is not None
    with torch.inference_mode():
        logits = tiny_model()(torch.tensor([PROMPT])).logits[0].log_softmax(-1)
    expected = [float(logits[i, token]) for i, token in enumerate(PROMPT[1:])]
    assert shown.token_logprobs[0] is None
    assert shown.token_logprobs[1 : len(PROMPT)] == pytest.approx(expected, abs=1e-4)
    assert "".join(shown.tokens[: len(PROMPT)]) == ECHO
    assert shown.text_offset[len(PROMPT)] == len(ECHO)


@pytest.mark.parametrize("top", [0, 3])
def test_each_token_of_the_prompt_has_its_rank_among_all(top: int) -> None:
    box = answered(a_job(prompt_logprobs=top, max_new_tokens=4))
    assert box.text == answered(a_job(max_new_tokens=4)).text
    assert [piece.prompt_logprobs for piece in box[1:]] == [None] * (len(box) - 1)
    assert box[0].prompt_logprobs is not None and box[0].logprobs is None
    first, *rest = box[0].prompt_logprobs
    assert first is None and len(rest) == len(PROMPT) - 1
    with torch.inference_mode():
        logits = tiny_model()(torch.tensor([PROMPT])).logits[0].log_softmax(-1)
    for places, row, token in zip(rest, logits, PROMPT[1:], strict=False):
        assert places is not None
        ranked = row.argsort(descending=True).tolist()
        assert list(places) == list(dict.fromkeys([token, *ranked[:top]])), "its own comes first"
        for own, told in places.items():
            assert told.rank == ranked.index(own) + 1
            assert told.logprob == pytest.approx(float(row[own]), abs=1e-4)
            assert told.decoded_token == VOCABULARY.spell(own)


def test_an_echo_shows_no_more_alternatives_than_it_was_asked_for() -> None:
    box = answered(a_job(logprobs=1, prompt_logprobs=5, echo=ECHO, max_new_tokens=1))
    assert box[0].logprobs is not None and box[0].prompt_logprobs is not None
    assert all(top is None or len(top) == 1 for top in box[0].logprobs.top_logprobs)
    assert all(places is None or len(places) >= 5 for places in box[0].prompt_logprobs)


def test_a_token_that_a_stop_text_cut_off_has_no_logprob() -> None:
    whole = answered(a_job()).text
    box = answered(a_job(logprobs=0, stop=(whole[5:8],)))
    offsets = [o for piece in box if piece.logprobs for o in piece.logprobs.text_offset]
    assert max(offsets) < len(box.text)


def test_an_unwanted_answer_ends_within_its_prompt() -> None:
    """After the first chunk: the second is never run."""
    long = PROMPT * 5
    asked = iter([True, False])
    box = answered(a_job(prompt_ids=long[:CONTEXT]), wanted=lambda: next(asked))
    assert box == []


def test_an_unwanted_answer_ends_between_two_tokens() -> None:
    asked = iter([True, True, True, True, False])
    box = answered(a_job(), wanted=lambda: next(asked))
    assert 0 < box[-1].usage.completion_tokens <= 3
    assert box[-1].finish_reason is None


def test_a_model_that_yields_no_numbers_is_an_error_and_no_text() -> None:
    model: Any = twin(tiny_model)
    weight = model.lm_head.weight.data
    healthy = weight[END].clone()
    weight[END] = float("nan")
    box = Box()
    try:
        with pytest.raises(ServeError, match="not a number"):
            Generation(a_job(), model, VOCABULARY).run(box)
    finally:
        weight[END] = healthy
    assert box == []
