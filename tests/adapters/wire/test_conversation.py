"""Prompts from templates: ChatGLM2's as its authors write it, and nothing lost in any other."""

from typing import Any, Literal

import pytest
from fastchat.conversation import conv_templates
from hypothesis import given, settings, strategies as st

from danlu.adapters.errors import ServeError, StartError
from danlu.adapters.wire.conversation import numbered, render, template_named, to_wire
from danlu.adapters.wire.generation import Message

TEXTUAL = sorted(name for name, one in conv_templates.items() if one.sep_style is not None)

Role = Literal["system", "user", "assistant"]


def message(role: Role, content: str) -> Message:
    return Message(role=role, content=content)


def chatglm2(*messages: Message) -> str:
    return render(template_named("chatglm2"), messages).text


def test_chatglm2s_rounds_are_numbered_from_one() -> None:
    turns = [message("user", "一"), message("assistant", "二"), message("user", "三")]
    assert chatglm2(*turns) == "[Round 1]\n\n问：一\n\n答：二\n\n[Round 2]\n\n问：三\n\n答："


def test_a_system_message_stands_in_front() -> None:
    told = chatglm2(message("user", "Q"), message("system", "be brief"))
    assert told == "be brief\n\n[Round 1]\n\n问：Q\n\n答："


def test_neighbours_of_one_role_are_one_turn() -> None:
    told = chatglm2(message("user", "a"), message("user", "b"))
    assert told == "[Round 1]\n\n问：a\n\nb\n\n答："


def test_an_assistant_that_begins_does_not_shift_the_rounds() -> None:
    told = chatglm2(message("assistant", "hello"), message("user", "Q"))
    assert told.endswith("hello\n\n[Round 2]\n\n问：Q\n\n答：")


def test_a_template_without_a_place_for_it_gets_the_system_message_in_the_first_turn() -> None:
    conv = template_named("deepseek-coder")
    text = render(conv, [message("system", "be brief"), message("user", "Q")]).text
    assert "be brief\n\nQ" in text


def test_what_ends_an_answer_comes_with_the_prompt() -> None:
    prompt = render(template_named("orca-2"), [message("user", "Q")])
    assert "<|im_end|>" in prompt.stop
    assert render(template_named("chatglm3"), [message("user", "Q")]).stop_token_ids


def test_several_texts_of_a_template_may_end_an_answer() -> None:
    conv = {**template_named("vicuna_v1.1"), "stop_str": ["a", "b"]}
    assert render(conv, [message("user", "Q")]).stop == ("a", "b")


@pytest.mark.parametrize("name", ["chatglm", "nobody", "gemini"])
def test_only_a_template_with_a_text_can_be_named(name: str) -> None:
    if name == "chatglm":
        assert template_named(name)["name"] == "chatglm"
        return
    with pytest.raises(StartError, match=name) as caught:
        template_named(name)
    assert "chatglm2" in str(caught.value) and "bard" not in str(caught.value)


def test_the_wire_form_is_that_of_fastchats_main() -> None:
    conv = template_named("chatglm2")
    assert list(conv) == [
        *("name", "system_template", "system_message", "system_message_vision", "roles"),
        *("messages", "offset", "sep_style", "sep", "sep2", "stop_str", "stop_token_ids"),
        "max_image_size_mb",
    ]
    assert conv["sep_style"] == 9  # 0.2.36 says 8
    assert template_named("vicuna_v1.1")["sep_style"] == 2  # both say so


@pytest.mark.parametrize("style", [8, 9])
def test_the_name_decides_where_versions_number_styles_differently(style: int) -> None:
    conv = {**template_named("chatglm2"), "sep_style": style}
    assert render(conv, [message("user", "Q")]).text == chatglm2(message("user", "Q"))


def test_a_template_that_only_the_worker_knows_is_used_if_its_style_is_sure() -> None:
    conv = {**template_named("vicuna_v1.1"), "name": "my-own"}
    known = template_named("vicuna_v1.1")
    assert render(conv, [message("user", "Q")]) == render(known, [message("user", "Q")])
    with pytest.raises(ServeError, match="my-own"):
        render({**conv, "sep_style": 12}, [message("user", "Q")])


@pytest.mark.parametrize("broken", [{}, {"name": "x"}, {"name": "chatglm2", "sep_style": "two"}])
def test_a_template_that_cannot_be_read_is_the_workers_fault(broken: dict[str, Any]) -> None:
    with pytest.raises(ServeError, match="cannot be read"):
        render(broken, [message("user", "Q")])


roles: st.SearchStrategy[Role] = st.sampled_from(["system", "user", "assistant"])


@settings(max_examples=300)
@given(st.sampled_from(TEXTUAL), st.lists(roles, min_size=1, max_size=5))
def test_no_template_loses_a_message(name: str, said: list[Role]) -> None:
    messages = [message(role, f"[text {i}]") for i, role in enumerate(said)]
    text = render(template_named(name), messages).text
    assert [m.content for m in messages if m.content not in text] == []


@given(st.sampled_from(TEXTUAL))
def test_the_wire_form_survives_the_wire(name: str) -> None:
    conv = to_wire(conv_templates[name])
    direct = conv_templates[name].copy()
    direct.append_message(direct.roles[0], "Q")
    direct.append_message(direct.roles[1], None)
    assert render(conv, [message("user", "Q")]).text == direct.get_prompt()


@pytest.mark.parametrize(
    ("name", "main", "release"), [("chatglm2", 9, 8), ("orca-2", 10, 9), ("vicuna_v1.1", 2, 2)]
)
def test_a_style_has_the_number_of_the_fastchat_that_reads_it(
    name: str, main: int, release: int
) -> None:
    conv = template_named(name)
    assert numbered(conv, "main")["sep_style"] == main
    assert numbered(conv, "0.2.36")["sep_style"] == release
    assert conv_templates[name].sep_style.value == release  # the package here is the release
