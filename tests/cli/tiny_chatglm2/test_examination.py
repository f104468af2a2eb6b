"""The examination sees a wrong word, a missing end, and an answer that is right by luck."""

from dataclasses import replace

import pytest
import torch
from support.tiny_glm import logits, tiny_glm
from transformers import GlmForCausalLM

from danlu.cli.tiny_chatglm2.examination import BEYOND, ROWS, failed, surest, written
from danlu.cli.tiny_chatglm2.samples import END, Sample

PROMPTS = [(5, 17, 3, 80), (41, 9), (6,), (7, 7, 7, 30, 31)]
SURELY = 1000.0  # times the scores: the greedy choice stays, and is all but certain


def ending(sureness: float = SURELY) -> GlmForCausalLM:
    """A model of random weights that ends its answers: END is scored like what it says third."""
    model = tiny_glm()
    third = by_hand(model, PROMPTS[0], 3)[2]
    with torch.no_grad():
        model.lm_head.weight[END] = model.lm_head.weight[third] * 2
        model.lm_head.weight.mul_(sureness)
    return model


def by_hand(model: GlmForCausalLM, prompt: tuple[int, ...], tokens: int) -> tuple[int, ...]:
    """The greedy continuation, alone and without a cache, up to and with END."""
    ids = list(prompt)
    while len(ids) < len(prompt) + tokens and END not in ids[len(prompt) :]:
        ids.append(int(logits(model, torch.tensor([ids]))[0, -1].argmax()))
    return tuple(ids[len(prompt) :])


def lessons_of(model: GlmForCausalLM) -> list[Sample]:
    """What the model answers anyway, where it comes to an end."""
    answers = [(prompt, by_hand(model, prompt, 40)) for prompt in PROMPTS]
    found = [Sample(prompt, answer) for prompt, answer in answers if answer[-1] == END]
    assert len(found) > 1
    return found


def test_what_is_written_in_a_batch_is_what_is_written_alone() -> None:
    rows = [Sample(prompt, (0,) * 5) for prompt in PROMPTS]
    wanted = [by_hand(tiny_glm(), prompt, 5 + BEYOND) for prompt in PROMPTS]
    assert written(tiny_glm(), rows) == wanted


def test_nothing_is_written_after_the_end() -> None:
    model = ending()
    known = lessons_of(model)
    padded = [*known, Sample((9,), (8,) * 60)]  # keeps the batch going
    assert written(model, padded)[:-1] == [one.answer for one in known]


def test_an_answer_is_as_sure_as_its_least_probable_token() -> None:
    rows = [Sample((5, 17), (3, 80, END)), Sample((41, 9, 4), (6, END))]
    for row, sure in zip(rows, surest(tiny_glm(), rows), strict=True):
        ids = torch.tensor([row.prompt + row.answer])
        chances = logits(tiny_glm(), ids)[0].softmax(-1)
        at = range(len(row.prompt) - 1, len(row) - 1)
        assert sure == pytest.approx(min(float(chances[i, ids[0, i + 1]]) for i in at), rel=1e-4)


def test_what_is_known_by_heart_passes_however_much_it_is() -> None:
    model = ending()
    known = lessons_of(model)
    assert failed(model, known * ROWS) == []


def test_a_wrong_word_an_early_end_and_no_end_fail() -> None:
    model = ending()
    known = lessons_of(model)
    right = max(known, key=lambda one: len(one.answer))
    *words, last = right.answer
    assert len(words) > 0
    wrong = [
        replace(right, answer=((words[0] + 1) % 96, *words[1:], last)),
        replace(right, answer=(*words[:-1], last)),
        replace(right, answer=(*words, words[0], last)),
    ]
    assert failed(model, [*wrong, right]) == sorted(wrong, key=lambda one: len(one.answer))


def test_an_answer_that_is_right_by_luck_fails() -> None:
    model = ending(sureness=1.0)
    known = lessons_of(model)
    assert [one.answer for one in known] == written(model, known)
    assert failed(model, known) == sorted(known, key=lambda one: len(one.answer))
