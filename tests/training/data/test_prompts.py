"""What is trained is what the worker serves, id for id."""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from support.glm import ODD, glm_tokenizer
from support.tiny import CHATML, SPECIAL, byte_level_tokenizer, sentencepiece_tokenizer
from transformers import PreTrainedTokenizerBase

from danlu.adapters.errors import StartError
from danlu.adapters.models.spellings import special_ids
from danlu.adapters.wire.generation import GenerateBody
from danlu.training.data.dialogue import Dialogue, Origin, Turn, Unusable, dialogue, last_only
from danlu.training.data.prompts import Form, Written, written
from danlu.training.data.store import form_for
from danlu.training.data.template_form import TemplateForm
from danlu.worker.glm_prompting import prompting_for
from danlu.worker.prompting import Prompting
from danlu.worker.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

LONG = 100_000
INST = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content + ' </s>' }}"
    "{% else %}{{ '<s>[INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}"
)
THINKING = (  # opens an answer with a thought, and leaves thoughts out of what was said
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
LAST_THOUGHT = (  # writes a thought into the last answer only
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if loop.last and m.role == 'assistant' %}{{ '<think></think>' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TWO_ENDS = CHATML.replace("<|im_end|>", "<|im_end|><|endoftext|>")
BARE = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}" + (
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def templated(tokenizer: PreTrainedTokenizerBase, template: str) -> PreTrainedTokenizerBase:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


TOKENIZERS: dict[str, Any] = {
    "chatglm2": glm_tokenizer(2),
    "chatglm3": glm_tokenizer(3),
    "chatml": byte_level_tokenizer(),
    "inst": templated(sentencepiece_tokenizer(), INST),
    "thinking": templated(byte_level_tokenizer(), THINKING),
    "last thought": templated(byte_level_tokenizer(), LAST_THOUGHT),
    "two ends": templated(byte_level_tokenizer(), TWO_ENDS),
    "no end": templated(byte_level_tokenizer(), BARE),
}
ENDS = {"chatglm2": "</s>", "chatglm3": "<|user|>", "inst": "</s>"}
ALONE = {"chatglm2", "thinking", "last thought", "no end"}  # an answer is alone in its sample
EACH = pytest.mark.parametrize("name", TOKENIZERS)
SOME = settings(max_examples=25)  # of seven tokenizers each

TEXT = st.text(min_size=1, max_size=20) | st.lists(
    st.sampled_from([*SPECIAL, *ODD, " a", "丹", "<s>", "[INST]"]), min_size=1, max_size=6
).map("".join)
SAID = TEXT.filter(lambda text: text.strip() and "\0" not in text)
TALK = st.lists(st.tuples(SAID, SAID), min_size=1, max_size=4)


def talk(*exchanges: tuple[str, str], system: str = "") -> Dialogue:
    turns = [Turn("system", system)] if system else []
    for question, answer in exchanges:
        turns += [Turn("user", question), Turn("assistant", answer)]
    return dialogue(turns, Origin("here", 1, 1))


def samples(name: str, whole: Dialogue, longest: int = LONG) -> list[Written]:
    return list(written(form(name), whole, longest))


@cache
def form(name: str) -> Form:
    return form_for(TOKENIZERS[name])


@cache
def prompting(name: str, context: int) -> Prompting:
    tokenizer = TOKENIZERS[name]
    return prompting_for(tokenizer, Vocabulary(tokenizer), None, context)


def served(name: str, turns: Sequence[Turn], context: int = LONG, answer: int = 1) -> list[int]:
    """What the worker feeds a model that is asked so."""
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    body = GenerateBody.model_validate({"messages": messages, "max_new_tokens": answer})
    return list(prompting(name, context).ask(body).ids)


def spans(one: Written) -> list[tuple[list[int], list[int]]]:
    """Every trained run of ids, after all that stands before it."""
    found = []
    ids, marks = one.sample.ids.tolist(), [*one.sample.trained.tolist(), False]
    for start in range(1, len(ids)):
        if marks[start] and not marks[start - 1]:
            end = marks.index(False, start)
            found.append((ids[:start], ids[start:end]))
    return found


@EACH
@SOME
@given(said=TALK, system=st.just("") | SAID)
def test_every_answer_is_trained_after_what_the_worker_is_fed(
    name: str, said: list[tuple[str, str]], system: str
) -> None:
    whole = talk(*said, system=system)
    found = [span for one in samples(name, whole) for span in spans(one)]
    answers = [n for n, turn in enumerate(whole.turns) if turn.role == "assistant"]
    assert [before for before, _ in found] == [served(name, whole.turns[:n]) for n in answers]


@EACH
@SOME
@given(said=TALK)
def test_an_answer_is_learned_to_the_letter_and_ends_where_the_worker_ends_it(
    name: str, said: list[tuple[str, str]]
) -> None:
    tokenizer = TOKENIZERS[name]
    found = [span for one in samples(name, talk(*said)) for span in spans(one)]
    end = tokenizer.convert_tokens_to_ids(ENDS.get(name, "<|im_end|>"))
    assert {span[-1] for _, span in found} == {end}
    decoded = [
        str(tokenizer.decode(span[:-1])).removeprefix("<think></think>") for _, span in found
    ]
    assert [_letters(text) for text in decoded] == [_letters(answer) for _, answer in said]


def _letters(text: str) -> str:
    """SentencePiece puts spaces of its own before a text and knows no "▁" but those."""
    return "".join(text.replace("▁", " ").split())


@EACH
@SOME
@given(said=TALK)
def test_nothing_that_is_said_becomes_a_special_token(
    name: str, said: list[tuple[str, str]]
) -> None:
    plain = talk(*((f"{n}", f"{n}") for n in range(len(said))))
    assert _specials(name, talk(*said)) == _specials(name, plain)


def _specials(name: str, whole: Dialogue) -> list[int]:
    tokenizer = TOKENIZERS[name]
    special = getattr(tokenizer, "special_ids", None) or special_ids(tokenizer)
    (one,) = samples(name, last_only(whole))
    return [i for i in one.sample.ids.tolist() if i in special]


@EACH
def test_answers_share_a_sample_where_the_template_allows(name: str) -> None:
    whole = talk(("Why?", "So."), ("And?", "Then."), ("丹", "炉"))
    assert len(samples(name, whole)) == (3 if name in ALONE else 1)


@EACH
@SOME
@given(said=TALK)
def test_the_last_answer_alone_is_trained_where_that_is_asked(
    name: str, said: list[tuple[str, str]]
) -> None:
    whole = talk(*said)
    (one,) = samples(name, last_only(whole))
    ((before, span),) = spans(one)
    assert before == served(name, whole.turns[:-1])
    assert span == spans(samples(name, whole)[-1])[-1][1]


@pytest.mark.parametrize("name", ["chatglm2", "chatglm3", "inst", "last thought"])
@SOME
@given(said=TALK, system=st.just("") | SAID, longest=st.integers(8, 90))
def test_a_sample_has_no_more_tokens_than_it_may_and_is_cut_only_for_that(
    name: str, said: list[tuple[str, str]], system: str, longest: int
) -> None:
    whole = talk(*said, system=system)
    found = samples(name, whole, longest)
    assert all(len(one.sample.ids) <= longest for one in found)
    cut = [bool(one.rounds or one.question or one.answer) for one in found for _ in spans(one)]
    uncut = [span for one in samples(name, whole) for span in spans(one)]
    assert cut == [len(before) + len(answer) > longest for before, answer in uncut]
    assert all(spans(one) and not one.sample.trained[0] for one in found)


@pytest.mark.parametrize("name", ["chatglm2", "chatglm3"])
def test_history_is_cut_as_in_serving(name: str) -> None:
    whole = talk(*((f"question {n}", f"answer {n}") for n in range(12)))
    *_, last = samples(name, last_only(whole), 120)
    ((before, span),) = spans(last)
    assert last.rounds > 0
    assert not (last.question or last.answer)
    assert before == served(name, whole.turns[:-1], context=120, answer=len(span))


@pytest.mark.parametrize("name", ["chatglm2", "chatglm3", "inst"])
@SOME
@given(said=TALK, longest=st.integers(8, 90))
def test_an_answer_is_cut_as_if_nothing_came_after_it(
    name: str, said: list[tuple[str, str]], longest: int
) -> None:
    found = [span for one in samples(name, talk(*said), longest) for span in spans(one)]
    each = [samples(name, last_only(talk(*said[:n])), longest) for n in range(1, len(said) + 1)]
    assert found == [span for (one,) in each for span in spans(one)]


@pytest.mark.parametrize("name", ["chatglm2", "chatml"])
def test_a_question_that_is_too_long_loses_its_beginning(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    question = "".join(f" cat {n}" for n in range(100))
    (one,) = samples(name, talk((question, "It's fine.")), 90)
    ((before, span),) = spans(one)
    assert (one.rounds, one.question, one.answer) == (0, True, False)
    assert span == spans(samples(name, talk(("?", "It's fine.")))[0])[0][1]
    text = str(tokenizer.decode(before))
    shown = served_text(name, "CUT")
    start, end = shown.split("CUT")
    assert text.startswith(start)
    assert text.endswith(end)
    assert question.endswith(text[len(start) : -len(end)])
    assert len(one.sample.ids) > 85, "no more is cut than must be"


def served_text(name: str, question: str) -> str:
    return str(TOKENIZERS[name].decode(served(name, [Turn("user", question)])))


def test_an_answer_that_is_too_long_loses_its_end_and_its_end_token() -> None:
    tokenizer = TOKENIZERS["chatglm2"]
    answer = "".join(f" dog {n}" for n in range(100))
    (one,) = samples("chatglm2", talk(("?" * 50, answer)), 80)
    ((before, span),) = spans(one)
    assert (one.question, one.answer) == (True, True)
    assert (len(before), len(span)) == (20, 60)
    assert tokenizer.decode(before).endswith("\n\n答：")
    assert answer.startswith(tokenizer.decode(span))
    assert tokenizer.end_ids[0] not in span


def test_a_long_answer_leaves_a_short_question_whole() -> None:
    (one,) = samples("chatglm2", talk(("?", " dog" * 100)), 80)
    ((before, _),) = spans(one)
    assert before == served("chatglm2", [Turn("user", "?")])
    assert (one.question, one.answer) == (False, True)


def test_what_does_not_fit_into_a_shared_sample_has_one_of_its_own() -> None:
    whole = talk(*((f"question {n}", f"answer {n}") for n in range(6)))
    found = samples("chatml", whole, 120)
    counts = [len(spans(one)) for one in found]
    assert counts[0] > 1
    assert counts[1:] == [1] * (6 - counts[0])
    assert [one.rounds > 0 for one in found] == [False, *([True] * (len(found) - 1))]


def test_a_model_without_a_chat_template_is_refused_with_the_way_out() -> None:
    with pytest.raises(StartError, match=r"no chat template.*chat_template.jinja"):
        form_for(sentencepiece_tokenizer())


def test_a_template_that_leaves_answers_out_is_refused() -> None:
    with pytest.raises(StartError, match="leaves answers out"):
        TemplateForm(templated(byte_level_tokenizer(), "{{ messages[0].content }}"))


def test_a_template_that_refuses_every_answer_is_refused() -> None:
    strict = templated(byte_level_tokenizer(), "{{ raise_exception('no') }}")
    with pytest.raises(StartError, match="refuses it: no, which is a question and its answer"):
        TemplateForm(strict)


def test_a_forms_key_is_anothers_for_all_that_makes_other_ids() -> None:
    ended, worded, again = (copy.deepcopy(byte_level_tokenizer()) for _ in range(3))
    ended.eos_token = "<|endoftext|>"
    worded.chat_template = INST
    key = TemplateForm(again).key
    assert key == TemplateForm(byte_level_tokenizer()).key
    assert len({key, TemplateForm(ended).key, TemplateForm(worded).key}) == 3


def test_a_record_that_the_template_refuses_is_bad() -> None:
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    strict_form = TemplateForm(templated(byte_level_tokenizer(), strict + CHATML))
    with pytest.raises(Unusable, match="template refuses it: no system"):
        list(written(strict_form, talk(("?", "!"), system="S"), LONG))


def test_an_answer_of_weight_0_is_read_and_not_trained() -> None:
    turns = (
        Turn("user", "a"),
        Turn("assistant", "b", trained=False),
        Turn("user", "c"),
        Turn("assistant", "d"),
    )
    for name in ("chatglm2", "chatglm3", "chatml"):
        (one,) = samples(name, dialogue(turns, Origin("here", 1, 1)))
        ((before, _),) = spans(one)
        assert before == served(name, turns[:3])
