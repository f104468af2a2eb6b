"""A generation body in each upstream's words; what it has no word for is refused by name."""

import json
from typing import Any

import pytest

from danlu.adapters.errors import BadRequest, OutOfRange
from danlu.adapters.wire.conversation import template_named
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.worker.upstream.asking import IDLE, SAID, Asking
from danlu.worker.upstream.dialects import DIALECTS

CONTEXT = 100
HI = [Message(role="user", content="Hi!")]
WISHES: dict[str, Any] = {
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "logit_bias": {"7": 2.0},
    "min_tokens": 3,
    "stop": ["\n"],
    "stop_token_ids": [2],
    "ignore_eos": True,
    "seed": 11,
    "logprobs": 2,
    "prompt_logprobs": 1,
    "priority": 5,
    "structured_outputs": {"choice": ["yes", "no"]},
}


def sent(dialect: str, **fields: Any) -> dict[str, Any]:
    fields = {"prompt": "Hi", "echo": False, **fields}
    return Asking("m", dialect, CONTEXT).job(GenerateBody(**fields)).body


def packed(said: dict[str, Any]) -> dict[str, Any]:
    """What is said, that in the JSON text of a field by its name with a dot."""
    inner = {
        f"{outer}.{name}": value
        for outer, text in said.items()
        if outer == "generation_config"
        for name, value in json.loads(text).items()
    }
    return said | inner


def refused(dialect: str, **fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        sent(dialect, **fields)
    return caught.value


def test_every_field_that_asks_for_something_is_known_to_the_table() -> None:
    does_it_itself = {"model", "prompt", "prompt_token_ids", "messages", "temperature", "top_p"}
    ours = {"max_new_tokens", "choice", "echo", "delta", "best_of", "use_beam_search", "images"}
    assert set(IDLE) | does_it_itself | ours == set(GenerateBody.model_fields)
    assert set(WISHES) == set(IDLE)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("field", WISHES)
def test_a_wish_is_said_in_the_upstreams_word_or_refused_by_name(dialect: str, field: str) -> None:
    known = DIALECTS[dialect]
    if known.knows(field):
        said = packed(sent(dialect, **{field: WISHES[field]}))[known.names[field]]
        assert said == ([[[7], 2.0]] if "sequence_bias" in known.names[field] else WISHES[field])
    else:
        error = refused(dialect, **{field: WISHES[field]})
        assert error.param == field and f"'{field}' is not supported" in str(error)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_asks_for_nothing_is_said_where_there_is_a_word_for_it(dialect: str) -> None:
    said, known = packed(sent(dialect)), DIALECTS[dialect]
    for field in SAID:
        assert (known.names.get(field) in said) == known.knows(field)
    assert not {"seed", "logit_bias", "logprobs", "min_tokens", "ignore_eos"} & set(said)


def test_top_k_is_off_in_the_upstreams_way() -> None:
    assert sent("vllm")["top_k"] == -1
    assert sent("llama.cpp")["top_k"] == sent("llama-cpp-python")["top_k"] == 0


def test_repetition_is_llama_cpps_own_word_and_looks_at_everything() -> None:
    said = sent("llama.cpp", repetition_penalty=1.1)
    assert said["repeat_penalty"] == 1.1 and said["repeat_last_n"] == CONTEXT
    assert "repeat_last_n" not in sent("llama.cpp")


def test_transformers_is_told_whether_to_draw() -> None:
    """It draws only where the model or the request says so, whatever the temperature."""
    for temperature, drawn in ((0.0, False), (0.7, True)):
        said = packed(sent("transformers", temperature=temperature))
        assert said["generation_config.do_sample"] is drawn
        assert said["generation_config.temperature"] == temperature
        assert not {"temperature", "top_p", "stream_options"} & set(said)
    assert packed(sent("transformers"))["generation_config.top_k"] == 0


def test_what_an_upstream_leaves_of_a_stop_text_is_ours_to_cut() -> None:
    for stop, cut in (("a", ("a",)), (["a", "b"], ("a", "b")), (None, ())):
        job = Asking("m", "transformers", CONTEXT).job(GenerateBody(prompt="Hi", stop=stop))
        assert job.stop == cut
    assert Asking("m", "vllm", CONTEXT).job(GenerateBody(prompt="Hi", stop="a")).stop == ()


def test_messages_go_to_the_chat_and_prompts_to_the_completions() -> None:
    chat = Asking("m", "vllm", CONTEXT).job(GenerateBody(messages=HI, echo=False, logprobs=3))
    assert chat.path == "/chat/completions"
    assert chat.body["messages"] == [{"role": "user", "content": "Hi!"}]
    assert (chat.body["logprobs"], chat.body["top_logprobs"]) == (True, 3)
    prompt = Asking("m", "vllm", CONTEXT).job(GenerateBody(prompt="Hi", echo=False, logprobs=3))
    assert (prompt.path, prompt.body["prompt"], prompt.body["logprobs"]) == (
        "/completions",
        "Hi",
        3,
    )


def test_llama_cpp_gives_no_log_probabilities_unless_asked_for_alternatives() -> None:
    assert sent("llama.cpp", logprobs=0)["logprobs"] == 1
    assert sent("llama.cpp", logprobs=3)["logprobs"] == 3
    chat = sent("llama.cpp", logprobs=0, prompt=None, messages=HI)
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 1)
    assert sent("vllm", logprobs=0)["logprobs"] == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_token_ids_go_where_they_are_read(dialect: str) -> None:
    if DIALECTS[dialect].reads_ids:
        assert sent(dialect, prompt=None, prompt_token_ids=[5, 6])["prompt"] == [5, 6]
    else:
        assert refused(dialect, prompt=None, prompt_token_ids=[5]).param == "prompt_token_ids"
    known = "prompt_token_ids" in Asking("m", dialect, CONTEXT).parameters
    assert known == DIALECTS[dialect].reads_ids


def test_the_echo_of_a_text_is_ours() -> None:
    job = Asking("m", "ollama", CONTEXT).job(GenerateBody(prompt="Hi"))
    assert job.echo == "Hi" and "echo" not in job.body


def test_the_echo_with_log_probabilities_is_the_upstreams() -> None:
    job = Asking("m", "vllm", CONTEXT).job(GenerateBody(prompt="Hi", logprobs=1))
    assert job.echo == "" and job.body["echo"] is True
    assert refused("llama.cpp", echo=True, logprobs=1).param == "echo"


def test_the_echo_of_a_conversation_is_nobodys() -> None:
    assert refused("vllm", prompt=None, messages=HI, echo=True).param == "echo"


def test_a_template_by_name_makes_a_prompt_of_messages() -> None:
    asking = Asking("m", "vllm", CONTEXT, template_named("qwen-7b-chat"))
    job = asking.job(GenerateBody(messages=HI, echo=False, stop="X"))
    assert job.path == "/completions" and "<|im_start|>user\nHi!" in job.body["prompt"]
    assert job.body["stop"][0] == "X"
    assert job.body["stop_token_ids"] == template_named("qwen-7b-chat")["stop_token_ids"]


@pytest.mark.parametrize("dialect", sorted(name for name, d in DIALECTS.items() if d.knows("seed")))
def test_further_answers_without_a_seed_get_one_by_chance(dialect: str) -> None:
    asking = Asking("m", dialect, CONTEXT, chance=lambda: 77)
    assert "seed" not in asking.job(GenerateBody(prompt="Hi")).body
    assert asking.job(GenerateBody(prompt="Hi", choice=1)).body["seed"] == 77
    assert asking.job(GenerateBody(prompt="Hi", choice=1, seed=5)).body["seed"] == 5


def test_an_upstream_that_knows_no_seeds_gets_none() -> None:
    assert "seed" not in sent("fastchat", choice=1)


def test_the_seeds_of_chance_are_others_each_time() -> None:
    assert len({sent("vllm", choice=1)["seed"] for _ in range(9)}) > 1


def test_the_workers_seed_is_for_requests_that_give_none() -> None:
    asking = Asking("m", "vllm", CONTEXT, seed=4)
    assert asking.job(GenerateBody(prompt="Hi")).body["seed"] == 4
    assert asking.job(GenerateBody(prompt="Hi", seed=5)).body["seed"] == 5
    assert asking.job(GenerateBody(prompt="Hi", choice=2)).body["seed"] == 6


def test_a_minimum_above_the_maximum_is_refused() -> None:
    with pytest.raises(OutOfRange, match="9 is greater than 'max_new_tokens', 8"):
        sent("vllm", min_tokens=9, max_new_tokens=8)


@pytest.mark.parametrize("text", ["", "abc", "你好", "😊" * 9])
def test_a_prompt_has_no_more_tokens_than_bytes_and_what_is_put_around(text: str) -> None:
    job = Asking("m", "vllm", CONTEXT).job(GenerateBody(prompt=text, echo=False))
    assert job.most >= len(text.encode()) + 1
