"""The choice of one sequence's next token, against what its parameters promise."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.card import card

from danlu.adapters.errors import ServeError
from danlu.worker.draw import Choice
from danlu.worker.job import Sampling
from danlu.worker.sampler import Sampler

pytestmark = pytest.mark.usefixtures("bound")

VOCABULARY = 6
LOGITS = torch.tensor([1.0, 3.0, 2.0, 0.0, -1.0, 2.5])
GREEDY = Sampling(temperature=0.0)


def chosen(sampler: Sampler, logits: torch.Tensor = LOGITS) -> Choice:
    """The next one of slot 0."""
    (choice,) = sampler.choose(logits.unsqueeze(0).to(card()), [0]).read()
    if isinstance(choice, ServeError):
        raise choice
    return choice


def a_sampler(
    sampling: Sampling, prompt: Sequence[int] = (0,), logits: torch.Tensor = LOGITS, **more: Any
) -> Sampler:
    sampler = Sampler(1, len(logits), torch.device(card()))
    sampler.join(0, sampling, prompt, **more)
    return sampler


def drawn(sampling: Sampling, times: int = 200, logits: torch.Tensor = LOGITS) -> list[int]:
    """What comes again and again from the same logits, in one step as if ahead of each other."""
    sampler = a_sampler(sampling, logits=logits)
    rows = logits.expand(times, -1)
    choices = sampler.choose(rows.to(card()), [0] * times, ahead=range(times)).read()
    return [choice.token for choice in choices if isinstance(choice, Choice)]


def chi_square(tokens: Sequence[int], probabilities: torch.Tensor) -> float:
    counts = torch.bincount(torch.tensor(tokens), minlength=len(probabilities))
    wanted = probabilities * len(tokens)
    return float(((counts - wanted) ** 2 / wanted).sum())


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
    torch.default_generator.manual_seed(5)
    before = torch.get_rng_state()
    drawn(Sampling(seed=3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("seed", range(5))
def test_along_a_sequence_tokens_come_with_their_probabilities(seed: int) -> None:
    tokens = drawn(Sampling(seed=seed), 20_000)
    assert chi_square(tokens, LOGITS.softmax(-1)) < 20.5  # 5 degrees of freedom, 0.999


@pytest.mark.parametrize("sampling", [{}, {"top_k": 5}, {"top_p": 0.9}])
def test_across_seeds_first_tokens_come_with_their_probabilities(sampling: dict[str, Any]) -> None:
    count = 4000
    sampler = Sampler(count, VOCABULARY, torch.device("cpu"))
    for seed in range(count):
        sampler.join(seed, Sampling(seed=seed, temperature=2.0, **sampling), ())
    choices = sampler.choose(LOGITS.expand(count, -1), range(count)).read()
    tokens = [choice.token for choice in choices if isinstance(choice, Choice)]
    probabilities = (LOGITS / 2.0).softmax(-1)
    if sampling:  # both leave out token 4
        probabilities[4] = 0
    left = probabilities[probabilities > 0] / probabilities.sum()
    places = {int(token): at for at, token in enumerate(probabilities.nonzero())}
    assert chi_square([places[token] for token in tokens], left) < 20.5


def test_a_large_vocabulary_is_drawn_from_evenly() -> None:
    """In its tail too: of 32 ranges of ids each has its share."""
    logits = -torch.arange(1, 8193, dtype=torch.float32).log() / 2
    tokens = drawn(Sampling(seed=1), 10_000, logits)
    shares = logits.softmax(-1).view(32, -1).sum(-1)
    assert chi_square([token // 256 for token in tokens], shares) < 61.1  # 31, 0.999


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


def test_banning_all_that_a_grammar_allows_is_an_error() -> None:
    sampler = a_sampler(Sampling(seed=1), banned=[1, 5], min_tokens=1)
    only = {0: torch.tensor([1 << 5], dtype=torch.int32, device=card())}
    (choice,) = sampler.choose(LOGITS.unsqueeze(0).to(card()), [0], only).read()
    assert isinstance(choice, ServeError)
    assert "no token is left to choose from at token 1" in str(choice)


def test_a_grammar_leaves_what_it_allows() -> None:
    sampler = a_sampler(Sampling(seed=1, top_p=0.9))
    allowed = {0: torch.tensor([1 << 5 | 1 << 3], dtype=torch.int32, device=card())}
    for _ in range(50):
        (choice,) = sampler.choose(LOGITS.unsqueeze(0).to(card()), [0], allowed).read()
        assert isinstance(choice, Choice)
        assert choice.token in {3, 5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_come_in_any_precision_and_of_equals_the_first_is_greedy(dtype: torch.dtype) -> None:
    logits = torch.tensor([1.0, 3.001, 3.0, 0.0]).to(dtype)
    assert chosen(a_sampler(GREEDY, logits=logits), logits).token == int(logits.argmax())


def test_logits_may_be_a_part_of_more() -> None:
    every = torch.randn(1, 4, 256)
    sampler = a_sampler(GREEDY, logits=every[0, 0])
    draw = sampler.choose(every[:, -1], [0])
    assert torch.equal(draw.tokens, every[:, -1].argmax(-1))
