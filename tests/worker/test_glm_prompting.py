"""What ChatGLM2 and ChatGLM3 are asked with."""

import logging
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.glm import ODD, glm_tokenizer
from support.tiny import byte_level_tokenizer

from danlu.adapters.errors import PromptTooLong
from danlu.adapters.wire.conversation import render, template_named
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.worker.admission import Admission
from danlu.worker.glm_prompting import GlmPrompting, prompting_for
from danlu.worker.grammar import Grammars
from danlu.worker.job import Job
from danlu.worker.prompting import Asked, Prompting
from danlu.worker.vocabulary import Vocabulary

CONTEXT = 120
TEXTS = st.text(max_size=40) | st.lists(st.sampled_from(ODD), max_size=9).map("".join)
GENERATIONS = pytest.mark.parametrize("generation", [2, 3])


def prompting(generation: int = 2, template: str | None = None) -> Prompting:
    tokenizer = glm_tokenizer(generation)
    return prompting_for(tokenizer, Vocabulary(tokenizer), template, CONTEXT)


def asked(generation: int = 2, **fields: Any) -> Asked:
    return prompting(generation).ask(GenerateBody(**{"max_new_tokens": 8, **fields}))


def admitted(generation: int = 2, **fields: Any) -> Job:
    tokenizer = glm_tokenizer(generation)
    door = Admission(
        prompting(generation),
        Grammars(tokenizer, len(tokenizer), frozenset({2})),
        context_length=CONTEXT,
        vocabulary=len(tokenizer),
        end_ids=frozenset({2}),
    )
    return door.admit(GenerateBody(echo=False, **fields))


def said(*contents: str, system: str = "") -> list[dict[str, str]]:
    """User and assistant in turn, the user first."""
    turns = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": content}
        for i, content in enumerate(contents)
    ]
    return [{"role": "system", "content": system}, *turns] if system else turns


@GENERATIONS
def test_messages_are_the_families_own_prompt(generation: int) -> None:
    tokenizer = glm_tokenizer(generation)
    messages = said("你好", "你好👋", "1+1", system="Be short.")
    own = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    result = asked(generation, messages=messages)
    assert list(result.ids) == own
    assert result.finished and not result.continues


@GENERATIONS
def test_fastchats_servers_are_told_the_families_template(generation: int) -> None:
    """With FastChat's own text and the same ids for it as for messages."""
    conv, name = prompting(generation).conversation, f"chatglm{generation}"
    stated = {**template_named(name), "stop_token_ids": conv["stop_token_ids"]}
    assert conv == stated
    messages = said("你好", "你好👋", "1+1", system="Be short.")
    prompt = render(conv, [Message.model_validate(m) for m in messages]).text
    assert asked(generation, prompt=prompt).ids == asked(generation, messages=messages).ids
    assert asked(generation, prompt=prompt).finished


def test_the_third_generation_ends_at_the_next_role() -> None:
    tokenizer = glm_tokenizer(3)
    ends = [tokenizer.get_vocab()[name] for name in ("<|user|>", "<|observation|>", "</s>")]
    assert prompting(3).conversation["stop_token_ids"] == ends
    assert set(ends) <= admitted(3, messages=said("a")).stop_ids
    assert admitted(3, messages=said("a"), ignore_eos=True).stop_ids == frozenset()


@given(content=TEXTS)
def test_messages_never_inject_a_role(content: str) -> None:
    special = glm_tokenizer(3).special_ids
    plain = [i for i in asked(3, messages=said("x"), max_new_tokens=1).ids if i in special]
    ids = asked(3, messages=said(content)).ids
    assert [i for i in ids if i in special] == plain


def test_roles_in_a_prompt_are_text_for_the_second_generation() -> None:
    special = glm_tokenizer().special_ids
    assert sum(i in special for i in asked(prompt="<|user|>\nhi<|assistant|>").ids) == 2


@pytest.mark.parametrize("prompt", ["Once upon a time", "答：", "问：a\n\n答：", "", "[gMASK]sop"])
@GENERATIONS
def test_any_other_prompt_is_completed_as_it_is(generation: int, prompt: str) -> None:
    result = asked(generation, prompt=prompt)
    assert list(result.ids) == glm_tokenizer(generation).encode(prompt)
    assert result.continues and not result.finished


@GENERATIONS
def test_an_answer_to_continue_is_continued(generation: int) -> None:
    result = asked(generation, messages=said("a", "The cat"))
    assert result.continues and result.finished
    decoded = str(glm_tokenizer(generation).decode(list(result.ids)))
    assert decoded.endswith("The cat")


@GENERATIONS
def test_a_prompt_is_counted_as_it_will_be_read(generation: int) -> None:
    text = "<|user|>\nhi<|assistant|>"
    assert prompting(generation).count(text) == len(asked(generation, prompt=text).ids)


@GENERATIONS
@given(contents=st.lists(TEXTS, min_size=1, max_size=12), wish=st.integers(1, 500))
def test_a_full_context_loses_its_oldest_rounds_and_nothing_else(
    generation: int, contents: list[str], wish: int
) -> None:
    contents = contents if len(contents) % 2 else contents[1:]
    contents = contents or ["x"]
    tokenizer, messages = glm_tokenizer(generation), said(*contents, system="S")
    room = min(wish, CONTEXT // 4)
    ids = asked(generation, messages=messages, max_new_tokens=wish).ids
    fitting = [
        tokenizer.apply_chat_template(
            said(*contents[n:], system="S"), add_generation_prompt=True, return_dict=False
        )
        for n in range(0, len(contents), 2)
    ]
    expected = next((f for f in fitting if len(f) <= CONTEXT - room), fitting[-1])
    assert list(ids) == expected


def test_a_cut_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        asked(messages=said(*["晚上睡不着应该怎么办"] * 9))
        asked(messages=said("a", "b", "c"))
    (line,) = [r.getMessage() for r in caplog.records if r.name.endswith("glm_prompting")]
    assert line.startswith("history cut rounds=")
    assert line.endswith(f"of=5 limit={CONTEXT - 8}")


@GENERATIONS
def test_a_question_that_does_not_fit_is_refused(generation: int) -> None:
    long = "晚上睡不着应该怎么办" * 30
    with pytest.raises(PromptTooLong, match=f"maximum context length is {CONTEXT} tokens"):
        admitted(generation, messages=said("a", "b", long))


def test_a_question_that_leaves_less_room_than_wished_is_admitted() -> None:
    content = "a " * 90
    job = admitted(messages=said("x", "y", content), max_new_tokens=500)
    alone = admitted(messages=said(content), max_new_tokens=500)
    assert job.prompt_ids == alone.prompt_ids
    assert 0 < job.max_new_tokens == CONTEXT - len(job.prompt_ids) < CONTEXT // 4


def test_the_tokenizer_decides_and_a_named_template_overrules() -> None:
    other = byte_level_tokenizer()
    assert type(prompting_for(other, Vocabulary(other), None, CONTEXT)) is Prompting
    assert type(prompting(2, "chatglm2")) is GlmPrompting
    assert type(prompting(2, "vicuna_v1.1")) is Prompting
    assert prompting(2, "vicuna_v1.1").conversation["name"] == "vicuna_v1.1"


def test_an_answer_with_a_structure_is_left_as_it_is() -> None:
    """Its white space may be asked for, and the date's mark too."""
    job = admitted(messages=said("你好"), structured_outputs={"choice": ["[[训练时间]] "]})
    assert job.grammar is not None and not job.finished
    assert admitted(messages=said("你好")).finished
