"""A generation body at the engine's door."""

from typing import Any

import pytest
from support.tiny import END, byte_level_tokenizer

from danlu.adapters.errors import BadRequest, OutOfRange, PromptTooLong
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.admission import HONOURED, Admission
from danlu.worker.grammar import Grammars
from danlu.worker.job import Job, Sampling
from danlu.worker.prompting import Prompting
from danlu.worker.vocabulary import Vocabulary

TOKENIZER = byte_level_tokenizer()
PROMPT = [300] * 10


def admitted(
    *,
    template: str | None = None,
    default_seed: int | None = None,
    ordered: bool = True,
    context: int = 32,
    **fields: Any,
) -> Job:
    door = Admission(
        Prompting(TOKENIZER, Vocabulary(TOKENIZER), template),
        Grammars(TOKENIZER, 400, frozenset({END})),
        context_length=context,
        vocabulary=400,
        end_ids=frozenset({END}),
        seed=default_seed,
        ordered=ordered,
    )
    if not {"prompt", "messages"} & fields.keys():
        fields.setdefault("prompt_token_ids", PROMPT)
    return door.admit(GenerateBody(**fields))


def test_a_body_without_wishes_is_fastchats_default() -> None:
    job = admitted(echo=False)
    assert job == Job(tuple(PROMPT), 22, Sampling(), stop_ids=frozenset({END}), continues=True)


def test_every_wish_reaches_the_job() -> None:
    job = admitted(
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        logit_bias={"5": 1.5},
        max_new_tokens=9,
        min_tokens=2,
        stop=["END", "STOP"],
        stop_token_ids=[7],
        seed=3,
        logprobs=4,
        prompt_logprobs=5,
        priority=-2,
        echo=True,
    )
    assert job.sampling == Sampling(0.5, 0.9, 7, 0.1, 1.1, 0.2, 0.3, ((5, 1.5),), 3)
    assert (job.max_new_tokens, job.min_tokens, job.logprobs) == (9, 2, 4)
    assert (job.stop, job.stop_ids) == (("END", "STOP"), frozenset({END, 7}))
    assert (job.prompt_logprobs, job.priority) == (5, -2)
    assert job.echo == TOKENIZER.decode(PROMPT)


def test_every_field_of_the_wire_is_honoured() -> None:
    assert frozenset(GenerateBody.model_fields) == HONOURED


def test_the_answer_is_clipped_to_what_the_context_leaves() -> None:
    assert admitted(max_new_tokens=1000).max_new_tokens == 32 - len(PROMPT)


def test_a_prompt_that_fills_the_context_is_refused_in_fastchats_words() -> None:
    with pytest.raises(PromptTooLong) as info:
        admitted(prompt_token_ids=[5] * 32)
    assert str(info.value) == (
        "This model's maximum context length is 32 tokens. However, your messages resulted in 32 "
        "tokens. Please reduce the length of the messages."
    )
    assert info.value.code == 40303


def test_ignoring_the_end_ignores_the_models_and_the_templates_but_no_wish() -> None:
    job = admitted(
        context=300,
        template="orca-2",
        messages=[{"role": "user", "content": "a"}],
        ignore_eos=True,
        stop_token_ids=[9],
        stop="END",
    )
    assert job.stop_ids == frozenset({9})
    assert job.stop == ("END",)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt_token_ids": [5, 400]}, "400 is not less than 400.*'prompt_token_ids'"),
        ({"logit_bias": {"401": 1.0}}, "401 is not less than 400.*'logit_bias'"),
        ({"min_tokens": 9, "max_new_tokens": 8}, "9 is greater than 'max_new_tokens', 8"),
    ],
)
def test_what_this_model_cannot_do_is_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(OutOfRange, match=words):
        admitted(**fields)


def test_a_priority_is_refused_by_name_where_none_is_kept() -> None:
    assert admitted(ordered=False, priority=0).priority == 0
    with pytest.raises(BadRequest, match="'priority' is not supported by this worker's") as info:
        admitted(ordered=False, priority=1)
    assert info.value.param == "priority"


def test_the_workers_seed_is_for_bodies_without_one() -> None:
    assert admitted(default_seed=5).sampling.seed == 5
    assert admitted(default_seed=5, seed=6).sampling.seed == 6


def test_the_answers_of_one_request_have_seeds_of_their_own() -> None:
    """Those of the request's own seed are given theirs by the API."""
    seeds = [admitted(default_seed=5, choice=number).sampling.seed for number in range(3)]
    assert seeds == [5, 6, 7]
    assert admitted(default_seed=5, seed=9, choice=1).sampling.seed == 9
    assert admitted(choice=1).sampling.seed is None


def test_a_structure_becomes_the_grammar_that_the_answer_follows() -> None:
    wanted = {"choice": ["a", "b"]}
    job = admitted(structured_outputs=wanted)
    assert job.grammar is not None and job == admitted(structured_outputs=wanted)
    assert admitted().grammar is None


def test_a_structure_that_cannot_be_followed_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="'structured_outputs.regex' cannot be followed") as info:
        admitted(structured_outputs={"regex": "("})
    assert info.value.param == "structured_outputs.regex"


@pytest.mark.parametrize("fields", [{"min_tokens": 1}, {"ignore_eos": True}])
def test_only_a_structure_says_where_its_answer_ends(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(BadRequest, match=f"'structured_outputs' .* so does '{name}'"):
        admitted(structured_outputs={"choice": ["a"]}, **fields)
