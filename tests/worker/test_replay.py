"""Replayed steps give what the steps themselves give, whatever comes between them."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from support.card import examples, loading, on_card
from support.devices import FakeDevice
from support.stage import SPARE_SLOTS, Stage, replaying, working_ahead
from support.stepping import Stepped
from support.tiny import random_model, tiny_config
from support.tiny_glm import tiny_glm
from torch import Tensor
from transformers import Glm4Config, PreTrainedModel, Qwen3Config

from danlu.adapters.errors import DeviceLost, OutOfMemory, ServeError
from danlu.worker.kv_slots import Swap
from danlu.worker.sequence import Sequence
from danlu.worker.suitability import Fit, fitted

pytestmark = pytest.mark.slow
CONTEXT = 128
SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": None,
    "pad_token_id": 0,
}
KINDS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: random_model(tiny_config()),
    "qwen3": lambda: random_model(Qwen3Config(**SIZES, head_dim=16)),
    "chatglm2": lambda: tiny_glm(positions=CONTEXT),
    "glm4": lambda: random_model(Glm4Config(**SIZES, head_dim=8)),
}
GREEDY: dict[str, Any] = {"temperature": 0.0}


@cache
def models(kind: str) -> tuple[PreTrainedModel, Fit]:
    model = on_card(KINDS[kind]())
    return model, fitted(model, CONTEXT)


def pair(kind: str, **facts: Any) -> tuple[Stepped, Stepped, FakeDevice]:
    """Two lines of steps over the same model as on a card, the second one's replayed."""
    model, fit = models(kind)
    device = FakeDevice(like_a_card=True, records=True)
    plain = Stepped(model, fit, fixed=True, **facts)
    return plain, Stepped(model, fit, fixed=True, device=device, **facts), device


def replays(device: FakeDevice) -> int:
    assert device.recorded is not None
    return device.recorded.replays


def some_ids(chance: random.Random, count: int) -> list[int]:
    return [chance.randrange(90) for _ in range(count)]


def lived(line: Stepped, seed: int, steps: int) -> list[list[Tensor]]:
    """All logits of sequences that come, share beginnings, try drafts, are scored, and go."""
    chance, gone = random.Random(seed), list[Sequence]()
    shared = some_ids(chance, 30)
    for _ in range(steps):
        here = list(line.scheduler)
        what = chance.choice(["come", "step", "step", "draft", "go"])
        if what == "come" and len(here) < 4:
            own = some_ids(chance, chance.randint(1, 25))
            line.add([*shared[: chance.choice([0, 20, 30])], *own], scored=chance.random() < 0.2)
        elif what == "go" and here:
            gone.append(chance.choice(here))
            line.end(gone[-1])
        else:
            drafts = {s: some_ids(chance, 2) for s in here if s.decoding and what == "draft"}
            line.step(chance.choice([16, 64]), drafts)
    for _ in range(6):
        line.step()
    everybody = [*gone, *line.scheduler]
    return [[*line.rows[each], *line.scores[each]] for each in everybody]


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 9999), steps=st.integers(5, 20))
def test_logits_are_those_of_the_steps_themselves_to_the_last_bit(
    kind: str, seed: int, steps: int
) -> None:
    plain, replayed, _ = pair(kind)
    for own, found in zip(lived(plain, seed, steps), lived(replayed, seed, steps), strict=True):
        assert len(own) == len(found)
        assert all(map(torch.equal, own, found))


@pytest.mark.usefixtures("bound")
def test_slots_may_change_places_between_replays() -> None:
    plain, replayed, device = pair("llama")
    rows = []
    for line in (plain, replayed):
        one, two, three = (line.add(range(first, first + 9)) for first in (10, 30, 50))
        line.until(three, 2)
        line.end(one)
        line.end(two)
        (swap,) = line.step().moves
        assert isinstance(swap, Swap)
        line.until(three, 6)
        rows.append(torch.stack(line.rows[three]))
    assert torch.equal(*rows)
    assert replays(device) > 4


@pytest.mark.usefixtures("bound")
def test_only_steps_that_decode_and_nothing_else_are_replayed() -> None:
    _, line, device = pair("llama")
    before = replays(device)

    def replayed() -> bool:
        nonlocal before
        before, now = replays(device), before
        return before > now

    one = line.add(range(5))
    line.step()
    assert not replayed(), "it reads a prompt"
    line.step()
    assert replayed()
    line.step(drafts={one: [1, 2]})
    assert not replayed(), "it tries a draft"
    line.add(range(40, 60))
    line.step(8)
    assert not replayed(), "an answer goes on beside a prompt"
    line.step()
    line.step()
    assert replayed()


@pytest.mark.usefixtures("bound")
def test_what_a_replay_gave_is_left_alone_by_the_next_one() -> None:
    _, line, _ = pair("llama")
    one = line.add(range(5))
    line.until(one, 1)
    given = []
    for _ in range(2):
        plan = line.scheduler.plan(16)
        result = line.runner.run(plan)
        given.append((result.due, result.due.clone()))
        line.scheduler.done(plan)
        one.tokens.append(int(result.due[0].argmax()))
    assert torch.equal(*given[0])
    assert not torch.equal(given[0][0], given[1][0])


@contextmanager
def stages(**manner: Any) -> Iterator[tuple[Stage, Stage]]:
    """Engines as on a card, without and with recordings."""
    device = FakeDevice(like_a_card=True)
    both = Stage(working_ahead, device, **manner), Stage(replaying, **manner)
    yield both
    for stage in both:
        stage.engine.close()


WISHES: list[dict[str, Any]] = [
    GREEDY,
    {"seed": 5},
    {"seed": 6, "top_p": 0.999, "temperature": 1.4},  # the head may turn out to be too short
    {"seed": 7, "presence_penalty": 1.0, "logprobs": 2, "repetition_penalty": 1.2},
    {**GREEDY, "min_tokens": 4, "logit_bias": {"7": 3.0}},
]


@pytest.mark.anyio
async def test_answers_are_the_same_whoever_comes_and_leaves_and_whatever_they_ask() -> None:
    with stages(concurrency=3) as (plain, replayed):
        chance = random.Random(3)
        bodies = [
            {
                **WISHES[i % len(WISHES)],
                "prompt_token_ids": [
                    chance.randrange(3, 300) for _ in range(chance.randint(1, 60))
                ],
                "max_new_tokens": chance.randint(1, 25),
            }
            for i in range(12)
        ]
        expected = [await plain.text(**body) for body in bodies]
        assert await asyncio.gather(*[replayed.text(**body) for body in bodies]) == expected
        before = replays(replayed.device)
        leaving = [replayed.start(max_new_tokens=60, seed=i) for i in range(3)]
        asked = [asyncio.create_task(replayed.text(**body)) for body in bodies]
        for box in leaving:
            await anext(aiter(box))
            box.leave()
        assert await asyncio.gather(*asked) == expected
        assert replays(replayed.device) > before
        replayed.idle()


@pytest.mark.anyio
async def test_a_step_that_is_ahead_feeds_on_the_device_what_the_host_does_not_know() -> None:
    """A greedy answer's next step is on its way before its last token is here."""
    with stages(concurrency=2) as (plain, replayed):
        body = {**GREEDY, "max_new_tokens": 60}
        assert await replayed.text(**body) == await plain.text(**body)
        assert replays(replayed.device) >= 60 - 1  # beside trials and the warm-up


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("words", "expected"),
    [("out of memory", OutOfMemory), ("error code is 507899", DeviceLost), ("boom", ServeError)],
)
async def test_a_replay_that_fails_is_a_step_that_fails(
    words: str, expected: type[ServeError]
) -> None:
    with stages(concurrency=2) as (_, replayed):
        wanted = await replayed.text(**GREEDY)
        with replayed.failing(RuntimeError(words), at=4), pytest.raises(expected):
            await replayed.text(**GREEDY)
        if expected is DeviceLost:
            assert replayed.engine.lost.done()
        else:
            assert await replayed.text(**GREEDY) == wanted


@pytest.mark.anyio
async def test_after_a_row_that_is_no_number_the_others_go_on_and_the_slot_is_clean() -> None:
    with stages(concurrency=3) as (_, replayed):
        wanted = [await replayed.text(**GREEDY, seed=i) for i in range(2)]
        poison = 399
        weight = replayed.model.model.embed_tokens.weight
        with replayed.held() as go:
            wrong = replayed.start(
                temperature=0.0, logit_bias={str(poison): 100.0}, max_new_tokens=9
            )
            boxes = [replayed.start(**GREEDY, seed=i) for i in range(2)]
            loading(lambda: weight[poison].fill_(float("nan")))
            go.set()
            with pytest.raises(ServeError, match="not a number|no number|not numbers"):
                [piece async for piece in wrong]
            found = ["".join([piece.text async for piece in box]) for box in boxes]
        assert found == wanted
        again = [replayed.text(**GREEDY, seed=i % 2) for i in range(3 + SPARE_SLOTS)]
        assert await asyncio.gather(*again) == (wanted * 3)[: 3 + SPARE_SLOTS]
