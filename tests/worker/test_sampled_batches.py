"""Many sequences' tokens at once: each row is what it is alone, and nobody waits for a device."""

import gc
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.card import card, examples
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from danlu.adapters.errors import ServeError
from danlu.worker.draw import Choice, Draw
from danlu.worker.job import Sampling
from danlu.worker.sampler import Sampler

pytestmark = [pytest.mark.usefixtures("bound"), pytest.mark.slow]

HERE = torch.device(card())
VOCABULARY = 700  # more than a head has
STEPS = 4
PENALTIES = st.sampled_from([0.0, 0.7])

SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.6, 1.0, 3.0]),
    top_p=st.sampled_from([1.0, 1.0, 0.95, 0.3]),
    top_k=st.sampled_from([0, 0, 1, 30, 300, 9999]),
    min_p=st.sampled_from([0.0, 0.0, 0.05]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.4]),
    presence_penalty=PENALTIES,
    frequency_penalty=PENALTIES,
    logit_bias=st.sampled_from([(), ((3, 9.0),), ((0, -100.0), (699, 5.0))]),
    seed=st.integers(-5, 5),
)
WISHES = st.fixed_dictionaries(
    {
        "sampling": SAMPLINGS,
        "prompt_ids": st.lists(st.integers(0, 20), max_size=5),
        "banned": st.sampled_from([(), (1, 2)]),
        "min_tokens": st.integers(0, 3),
        "logprobs": st.sampled_from([None, None, 0, 2, 20]),
    }
)
WARM = [
    Sampling(temperature=0.0),
    Sampling(seed=1),
    Sampling(seed=1, top_p=0.8, temperature=0.5),
    Sampling(seed=1, top_k=40),
    Sampling(seed=1, min_p=0.1),
    Sampling(seed=1, repetition_penalty=1.3, frequency_penalty=0.5),
]


def some_logits(rows: int, seed: int = 0, scale: float = 3.0, width: int = VOCABULARY) -> Tensor:
    """With many equal ones, as a model in half precision has."""
    chance = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, width, generator=chance) * scale).to(HERE, torch.bfloat16)


def a_sampler(*samplings: Sampling, vocabulary: int = VOCABULARY, **more: Any) -> Sampler:
    sampler = Sampler(len(samplings), vocabulary, HERE)
    for slot, sampling in enumerate(samplings):
        sampler.join(slot, sampling, (), **more)
    return sampler


def tokens_of(draw: Draw) -> list[int]:
    return [choice.token for choice in draw.read() if isinstance(choice, Choice)]


@given(st.lists(WISHES, min_size=1, max_size=5), st.integers(0, 99))
@settings(deadline=None, max_examples=examples(100))
def test_a_row_in_a_batch_is_what_it_is_alone(wishes: list[dict[str, Any]], seed: int) -> None:
    """To the last bit of its log-probabilities, whoever comes and goes beside it."""
    together = Sampler(len(wishes), VOCABULARY, HERE)
    alone = [Sampler(1, VOCABULARY, HERE) for _ in wishes]
    for slot, wish in enumerate(wishes):
        together.join(slot, **wish)
        alone[slot].join(0, **wish)
    slots = list(range(len(wishes)))
    for step in range(STEPS):
        logits = some_logits(len(slots), seed + step)
        draw = together.choose(logits, slots)
        choices = draw.read()
        for at, slot in enumerate(slots):
            assert alone[slot].choose(logits[at : at + 1], [0]).read() == [choices[at]]
        assert draw.tokens.tolist() == tokens_of(draw)
        if step == 1 and len(slots) > 1:
            together.leave(slots.pop(0))
        slots = slots[::-1]


def test_a_slot_that_was_left_knows_nothing_of_its_last_sequence() -> None:
    how = Sampling(temperature=0.0, repetition_penalty=5.0, presence_penalty=2.0)
    sampler, fresh = a_sampler(how), a_sampler(how)
    logits = some_logits(1)
    first = [tokens_of(sampler.choose(logits, [0])) for _ in range(3)]
    sampler.leave(0)
    sampler.join(0, how, ())
    assert [tokens_of(sampler.choose(logits, [0])) for _ in range(3)] == first
    assert [tokens_of(fresh.choose(logits, [0])) for _ in range(3)] == first
    assert len({token for (token,) in first}) == 3


def test_leaving_frees_all_that_is_a_vocabulary_wide() -> None:
    wide = 50_000

    def alive() -> int:
        gc.collect()
        found = [o for o in gc.get_objects() if type(o) is Tensor and o.numel() >= wide]
        return len(found)

    before = alive()
    sampler = a_sampler(*WARM, vocabulary=wide, logprobs=2)
    choices = sampler.choose(some_logits(len(WARM), width=wide), range(len(WARM))).read()
    assert alive() > before
    for slot in range(len(WARM)):
        sampler.leave(slot)
    assert alive() == before
    assert len(choices) == len(WARM)


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
def test_a_row_of_no_numbers_fails_alone_and_breaks_no_next_step(fault: float) -> None:
    rows = range(len(WARM))
    healthy = some_logits(len(WARM))
    expected = a_sampler(*WARM, logprobs=1).choose(healthy, rows).read()
    for bad in rows:
        logits = healthy.clone()
        logits[bad, 5 if fault != -float("inf") else slice(None)] = fault
        draw = a_sampler(*WARM, logprobs=1).choose(logits, rows)
        choices = draw.read()
        error = choices[bad]
        assert isinstance(error, ServeError)
        assert "not a number at token 1" in str(error)
        assert choices[:bad] + choices[bad + 1 :] == expected[:bad] + expected[bad + 1 :]
        assert 0 <= int(draw.tokens[bad]) < VOCABULARY


def test_a_row_that_only_failed_in_its_batch_says_which_token_it_was() -> None:
    sampler = a_sampler(Sampling(seed=1))
    for _ in range(2):
        sampler.choose(some_logits(1), [0])
    (error,) = sampler.choose(torch.full((1, VOCABULARY), torch.nan, device=HERE), [0]).read()
    assert "at token 3" in str(error)


class Deaf(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses every operation whose result the host would have to wait for."""

    WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique", "equal")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.WAITING, name
        assert not (
            name == "index" and any(i.dtype == torch.bool for i in args[1] if i is not None)
        )
        return func(*args, **(kwargs or {}))


def deaf() -> Any:
    mode: Any = Deaf
    return mode()


def test_choosing_never_waits_for_the_device() -> None:
    with pytest.raises(AssertionError, match="_local_scalar_dense"), deaf():
        int(torch.ones(1, device=HERE))
    sampler = a_sampler(*WARM, banned=[1], min_tokens=2)
    sampler.leave(1)
    sampler.join(1, Sampling(seed=2, logit_bias=((1, 5.0),)), (), logprobs=3)
    words = -(-VOCABULARY // 32)
    allowed = {2: torch.full((words,), -1, dtype=torch.int32, device=HERE)}
    with deaf():
        draws = [sampler.choose(some_logits(len(WARM)), range(len(WARM)), allowed) for _ in "abc"]
    assert all(len(tokens_of(draw)) == len(WARM) for draw in draws)


def test_draws_may_be_read_later_and_twice() -> None:
    logits = some_logits(len(WARM))
    rows = range(len(WARM))
    eager, late = a_sampler(*WARM), a_sampler(*WARM)
    expected = [eager.choose(logits, rows).read() for _ in range(3)]
    draws = [late.choose(logits, rows) for _ in range(3)]
    assert [draw.read() for draw in draws] == expected
    assert [draw.read() for draw in draws] == expected


@pytest.mark.parametrize(
    ("sampling", "final"),
    [
        (Sampling(temperature=0.0, top_p=0.5), True),
        (Sampling(), True),
        (Sampling(min_p=0.1, repetition_penalty=1.1), True),
        (Sampling(top_k=600), True),
        (Sampling(top_k=5), False),
        (Sampling(top_p=0.9), False),
    ],
)
def test_tokens_are_final_at_once_where_no_order_is_needed(sampling: Sampling, final: bool) -> None:
    draw = a_sampler(GREEDY, sampling).choose(some_logits(2), [0, 1])
    assert draw.final_without_read is final
    before = draw.tokens.clone()
    draw.read()
    assert not final or torch.equal(draw.tokens, before)


GREEDY = Sampling(temperature=0.0)


def test_a_nucleus_beyond_the_head_is_put_right_when_it_is_read() -> None:
    flat = some_logits(1, scale=0.01).float()
    draw = a_sampler(GREEDY, Sampling(seed=6, top_p=0.999), logprobs=0).choose(
        flat.expand(2, -1), [0, 1]
    )
    first = draw.tokens.clone()
    greedy, right = draw.read()
    assert isinstance(greedy, Choice) and isinstance(right, Choice)
    assert draw.redone == (1,)
    assert draw.tokens.tolist() == [greedy.token, right.token]
    assert int(first[1]) != right.token
    assert right.logprob == pytest.approx(float(flat[0].log_softmax(-1)[right.token]))


def test_a_token_that_was_put_right_counts_for_the_penalties_and_the_first_one_does_not() -> None:
    """All nearly alike and none twice: each comes once, and the last leaves nothing new."""
    sampler = a_sampler(Sampling(seed=1, top_p=0.9999, frequency_penalty=2.0, temperature=0.05))
    flat = some_logits(1, scale=0.001).float()
    said, redone = [], 0
    for _ in range(VOCABULARY // 2):
        draw = sampler.choose(flat, [0])
        said += tokens_of(draw)
        redone += len(draw.redone)
    assert redone > VOCABULARY // 4
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("sampling", [Sampling(seed=3), Sampling(seed=3, top_p=0.7), GREEDY])
def test_tokens_ahead_are_those_that_come_one_by_one(sampling: Sampling) -> None:
    logits = some_logits(6, scale=2.0)
    one, many = a_sampler(sampling), a_sampler(sampling, GREEDY)
    expected = [tokens_of(one.choose(logits[i : i + 1], [0]))[0] for i in range(6)]
    assert many.plain(0)
    ahead = many.choose(logits[[0, 1, 2, 3, 0]], [0, 0, 0, 0, 1], ahead=[0, 1, 2, 3, 0])
    assert tokens_of(ahead)[:4] == expected[:4]
    many.advance(0, expected[:3])
    rest = [tokens_of(many.choose(logits[i : i + 1], [0]))[0] for i in range(3, 6)]
    assert rest == expected[3:]


def test_a_neighbour_of_tokens_ahead_is_recorded_as_ever() -> None:
    """Its penalties and its chances go on."""
    how = Sampling(seed=3, frequency_penalty=0.9, repetition_penalty=2.0)
    logits = some_logits(6, scale=2.0)
    alone, beside = a_sampler(how), a_sampler(how, GREEDY)
    for row in logits:
        one = tokens_of(alone.choose(row.unsqueeze(0), [0]))
        rows = torch.stack([logits[0], logits[1], row])
        assert tokens_of(beside.choose(rows, [1, 1, 0], ahead=[0, 1, 0]))[2:] == one


@pytest.mark.parametrize(
    ("sampling", "more", "plain"),
    [
        (Sampling(seed=1, logit_bias=((1, 2.0),)), {}, True),
        (Sampling(repetition_penalty=1.1), {}, False),
        (Sampling(presence_penalty=0.1), {}, False),
        (Sampling(frequency_penalty=-0.1), {}, False),
        (Sampling(), {"logprobs": 0}, False),
        (Sampling(), {"banned": [1], "min_tokens": 1}, False),
        (Sampling(), {"min_tokens": 1}, True),
    ],
)
def test_plain_is_a_sequence_whose_tokens_do_not_depend_on_each_other(
    sampling: Sampling, more: dict[str, Any], plain: bool
) -> None:
    sampler = a_sampler(sampling, **more)
    assert sampler.plain(0) is plain
    if not plain:
        with pytest.raises(AssertionError):
            sampler.choose(some_logits(2), [0, 0], ahead=[0, 1])
        with pytest.raises(AssertionError):
            sampler.advance(0, [1])


def test_a_sequence_is_plain_once_its_end_tokens_may_come() -> None:
    sampler = a_sampler(Sampling(seed=1), banned=[1], min_tokens=1)
    assert not sampler.plain(0)
    sampler.choose(some_logits(1), [0])
    assert sampler.plain(0)


@pytest.mark.parametrize(
    "sampling", [*WARM, Sampling(seed=1, frequency_penalty=0.9, repetition_penalty=2.0)]
)
def test_a_sequence_goes_on_elsewhere_as_if_it_had_stayed(sampling: Sampling) -> None:
    stays, goes = a_sampler(sampling), Sampler(3, VOCABULARY, HERE)
    logits = [some_logits(1, seed, scale=1.0) for seed in range(8)]
    tokens = [tokens_of(stays.choose(row, [0]))[0] for row in logits]
    goes.join(2, sampling, (), produced=tokens[:5])
    assert [tokens_of(goes.choose(row, [2]))[0] for row in logits[5:]] == tokens[5:]


def test_a_slot_is_joined_once_and_a_step_takes_a_slot_once() -> None:
    sampler = a_sampler(GREEDY)
    with pytest.raises(AssertionError):
        sampler.join(0, GREEDY, ())
    with pytest.raises(AssertionError):
        sampler.choose(some_logits(2), [0, 0])
