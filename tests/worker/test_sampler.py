"""The choice of the next token, against what its parameters promise."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.card import card

from danlu.adapters.errors import ServeError
from danlu.worker.job import Sampling
from danlu.worker.sampler import Choice, Sampler

pytestmark = pytest.mark.usefixtures("bound")

VOCABULARY = 6
LOGITS = torch.tensor([1.0, 3.0, 2.0, 0.0, -1.0, 2.5])
GREEDY = Sampling(temperature=0.0)


def a_sampler(sampling: Sampling, prompt: Sequence[int] = (0,), **more: Any) -> Sampler:
    return Sampler(sampling, torch.tensor(prompt, device=card()), VOCABULARY, **more)


def chosen(sampler: Sampler, logits: torch.Tensor = LOGITS) -> Choice:
    return sampler.choose(logits.to(card()))


def drawn(sampling: Sampling, times: int = 200, logits: torch.Tensor = LOGITS) -> list[int]:
    sampler = a_sampler(sampling)
    return [chosen(sampler, logits).token for _ in range(times)]


def test_greedy_takes_the_most_probable() -> None:
    assert set(drawn(GREEDY)) == {1}


def test_a_top_p_of_nothing_is_greedy() -> None:
    assert set(drawn(Sampling(top_p=0.0, seed=1))) == {1}


def test_the_same_seed_draws_the_same_tokens_and_another_one_others() -> None:
    assert drawn(Sampling(seed=7)) == drawn(Sampling(seed=7)) != drawn(Sampling(seed=8))


@pytest.mark.parametrize("seed", [0, -1, -(2**63), 2**64 - 1])
def test_every_legal_seed_is_taken(seed: int) -> None:
    assert drawn(Sampling(seed=seed), 5) == drawn(Sampling(seed=seed), 5)


def test_a_request_without_a_seed_gets_one_of_its_own() -> None:
    assert drawn(Sampling()) != drawn(Sampling())


def test_drawing_leaves_the_process_wide_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn(Sampling(seed=3))
    assert torch.equal(before, torch.get_rng_state())


def test_tokens_are_drawn_with_their_probabilities() -> None:
    times = 20_000
    counts = torch.bincount(torch.tensor(drawn(Sampling(seed=1), times)), minlength=VOCABULARY)
    assert torch.allclose(counts / times, LOGITS.softmax(-1), atol=0.012)


@pytest.mark.parametrize(
    ("sampling", "possible"),
    [
        (Sampling(top_k=2, seed=1), {1, 5}),
        (Sampling(top_p=0.7, seed=1), {1, 5}),
        (Sampling(min_p=0.5, seed=1), {1, 5}),
        (Sampling(top_k=100, temperature=5.0, seed=1), {0, 1, 2, 3, 4, 5}),
        (Sampling(temperature=0.05, seed=1), {1}),
    ],
)
def test_what_the_cuts_leave(sampling: Sampling, possible: set[int]) -> None:
    assert set(drawn(sampling, 500)) == possible


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.tensor([0.0, -torch.inf, 0.0, -torch.inf, -torch.inf, -torch.inf])
    assert set(drawn(Sampling(seed=2), 2000, logits)) == {0, 2}


def test_the_repetition_penalty_counts_prompt_and_answer() -> None:
    sampler = a_sampler(Sampling(temperature=0.0, repetition_penalty=2.0), prompt=[1])
    assert [chosen(sampler).token for _ in range(3)] == [5, 2, 1]


def test_the_presence_penalty_counts_the_answer_only_and_once() -> None:
    sampler = a_sampler(Sampling(temperature=0.0, presence_penalty=0.6), prompt=[1])
    assert [chosen(sampler).token for _ in range(4)] == [1, 5, 1, 1]


def test_the_frequency_penalty_grows() -> None:
    sampler = a_sampler(Sampling(temperature=0.0, frequency_penalty=0.6), prompt=[1])
    assert [chosen(sampler).token for _ in range(4)] == [1, 5, 1, 2]


def test_a_bias_can_force_and_forbid_a_token() -> None:
    assert set(drawn(Sampling(logit_bias=((4, 100.0),), seed=1))) == {4}
    assert 1 not in drawn(Sampling(logit_bias=((1, -100.0),), seed=1))


def test_end_tokens_are_banned_until_enough_was_said() -> None:
    sampler = a_sampler(GREEDY, banned=[1, 5], min_tokens=2)
    assert [chosen(sampler).token for _ in range(3)] == [2, 2, 1]


def test_logprobs_are_those_of_the_model_whatever_was_asked_for() -> None:
    sampling = Sampling(temperature=0.1, top_k=1, logit_bias=((4, 100.0),), seed=1)
    choice = chosen(a_sampler(sampling, logprobs=2))
    logprobs = LOGITS.log_softmax(-1)
    assert choice.token == 4
    assert choice.logprob == pytest.approx(float(logprobs[4]))
    assert [token for token, _ in choice.top] == [1, 5]
    assert [value for _, value in choice.top] == pytest.approx(logprobs[[1, 5]].tolist())


def test_logprobs_of_the_chosen_token_alone() -> None:
    choice = chosen(a_sampler(GREEDY, logprobs=0))
    assert choice.logprob == pytest.approx(float(LOGITS.log_softmax(-1)[1]))
    assert choice.top == ()


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=1), Sampling(seed=1, top_p=0.5)])
def test_what_is_no_number_is_an_error_and_no_token(fault: float, sampling: Sampling) -> None:
    logits = LOGITS.clone()
    logits[3] = fault
    with pytest.raises(ServeError, match="not a number at token 1"):
        chosen(a_sampler(sampling), logits)


def test_a_model_that_rules_everything_out_is_an_error() -> None:
    with pytest.raises(ServeError, match="not a number"):
        chosen(a_sampler(GREEDY), torch.full((VOCABULARY,), -torch.inf))
