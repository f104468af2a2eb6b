"""A step's results are the model's own, whatever else is in the step and wherever things lie."""

import copy
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from support.card import examples, on_card
from support.stepping import Stepped, generated, own_rows
from support.tiny import random_model, tiny_config
from support.tiny_glm import tiny_glm
from torch import Tensor
from transformers import (
    Glm4Config,
    MistralConfig,
    MixtralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from danlu.worker.kv_slots import Copy, Swap
from danlu.worker.sequence import Sequence
from danlu.worker.suitability import Fit, fitted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bound")]
CONTEXT = 128
WORDS = 96  # ids that all of the models know
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
    "qwen2": lambda: random_model(Qwen2Config(**SIZES)),
    "qwen3": lambda: random_model(Qwen3Config(**SIZES, head_dim=16)),
    "chatglm2": lambda: tiny_glm(positions=CONTEXT),
    "glm4": lambda: random_model(Glm4Config(**SIZES, head_dim=8)),
    "mistral": lambda: random_model(MistralConfig(**SIZES, sliding_window=None)),
    "mixtral": lambda: random_model(MixtralConfig(**SIZES, num_local_experts=4)),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
few = settings(
    max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@cache
def models(kind: str) -> tuple[PreTrainedModel, PreTrainedModel, Fit]:
    """The model as it is, and one into which attention is plugged."""
    own = KINDS[kind]()
    plugged = on_card(copy.deepcopy(own))
    return own, plugged, fitted(plugged, CONTEXT)


def stepped(kind: str, **facts: Any) -> Stepped:
    _, plugged, fit = models(kind)
    return Stepped(plugged, fit, **facts)


def some_ids(chance: random.Random, count: int) -> list[int]:
    return [chance.randrange(WORDS) for _ in range(count)]


def check(kind: str, line: Stepped, *sequences: Sequence) -> None:
    """Each token was chosen from what the model itself says there."""
    for sequence in sequences:
        close(line.rows[sequence], own_rows(models(kind)[0], sequence))


def close(rows: list[Tensor], own: Tensor) -> None:
    """The same but for what float32 leaves open, of logits as large as these."""
    torch.testing.assert_close(torch.stack(rows), own, rtol=0, atol=1e-5 * float(own.abs().max()))


@each_kind
@few
@given(data=st.data())
def test_a_prompt_may_be_read_in_any_parts(kind: str, data: st.DataObject) -> None:
    line = stepped(kind, fixed=data.draw(st.booleans()))
    chance = random.Random(data.draw(st.integers(0, 999)))
    one = line.add(some_ids(chance, data.draw(st.integers(1, 90))))
    while len(line.answer(one)) < 4:
        line.step(data.draw(st.integers(1, 40)))
    check(kind, line, one)


@each_kind
@few
@given(data=st.data())
def test_nobody_notices_who_else_comes_and_goes(kind: str, data: st.DataObject) -> None:
    """Prompts beside answers, beginnings shared with those that run or have gone, gaps, moves."""
    line, gone = stepped(kind, slots=3, fixed=data.draw(st.booleans())), list[Sequence]()
    chance = random.Random(data.draw(st.integers(0, 999)))
    shared = some_ids(chance, 40)
    for _ in range(data.draw(st.integers(6, 16))):
        here = list(line.scheduler)
        what = data.draw(st.sampled_from(["come", "step", "step", "go"]))
        if what == "come" and len(here) < 4:
            kept = data.draw(st.sampled_from([0, 20, 40]))
            line.add([*shared[:kept], *some_ids(chance, data.draw(st.integers(1, 20)))])
        elif what == "go" and here:
            gone.append(data.draw(st.sampled_from(here)))
            line.end(gone[-1])
        else:
            line.step(data.draw(st.sampled_from([16, 30, 64])))
    for _ in range(8):
        line.step()
    answered = [s for s in [*gone, *line.scheduler] if line.rows[s]]
    check(kind, line, *answered)


@each_kind
def test_a_greedy_answer_is_what_generate_gives(kind: str) -> None:
    own: Any = models(kind)[0]
    line, chance = stepped(kind), random.Random(4)
    sequences = [line.add(some_ids(chance, count)) for count in (3, 50, 17, 1)]
    for _ in range(30):
        line.step(24)
    for sequence in sequences:
        count = len(line.answer(sequence))
        assert count > 20
        assert sequence.tokens == generated(own, sequence, count)


@each_kind
@few
@given(data=st.data())
def test_a_draft_changes_nothing_right_or_wrong(kind: str, data: st.DataObject) -> None:
    """Neighbours write, and read their prompts; some have drafts as well."""
    line = stepped(kind, fixed=data.draw(st.booleans()))
    chance = random.Random(data.draw(st.integers(0, 999)))
    sequences = [line.add(some_ids(chance, chance.randint(1, 40))) for _ in range(3)]
    line.until(sequences[0], 1, budget=data.draw(st.integers(8, 64)))
    tried = right = 0
    for _ in range(data.draw(st.integers(3, 12))):
        drafts = {
            s: guessed(kind, s, data.draw(st.lists(st.booleans(), max_size=6)))
            for s in sequences
            if s.decoding
        }
        before = sum(len(s.tokens) for s in sequences)
        plan = line.step(16, drafts)
        tried += plan.drafted
        right += sum(len(s.tokens) for s in sequences) - before - len(set(plan.due))
    assert 0 <= right <= tried
    check(kind, line, *[s for s in sequences if line.rows[s]])


def guessed(kind: str, sequence: Sequence, rights: list[bool]) -> list[int]:
    """What the model itself says, but for those that are to be wrong."""
    ids = list(sequence.tokens)
    for right in rights:
        with torch.inference_mode():
            row = models(kind)[0](input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        ids.append((int(row.argmax()) + (not right)) % WORDS)
    return ids[len(sequence.tokens) :]


@each_kind
def test_a_gap_between_slots_changes_nothing(kind: str) -> None:
    line, chance = stepped(kind), random.Random(1)
    first, gap, third, last = (line.add(some_ids(chance, count)) for count in (30, 9, 12, 7))
    line.step()
    line.end(gap)
    line.until(last, 5)
    assert [sequence.seat for sequence in line.step().decode] == [0, 2, 3]
    check(kind, line, first, third, last)


@each_kind
def test_slots_change_places_in_the_middle_of_answers(kind: str) -> None:
    line, chance = stepped(kind), random.Random(2)
    reading, writing = line.add(some_ids(chance, 90)), line.add(some_ids(chance, 3))
    moved = [move for _ in range(12) for move in line.step(16).moves]
    assert any(isinstance(move, Swap) for move in moved)
    check(kind, line, reading, writing)


@each_kind
@pytest.mark.parametrize("gone", [True, False])
def test_a_beginning_that_another_one_has_read_is_as_good(kind: str, gone: bool) -> None:
    line, chance = stepped(kind), random.Random(3)
    shared = some_ids(chance, 50)
    elder = line.add([*shared, *some_ids(chance, 30)])
    line.until(elder, 4)
    if gone:
        line.end(elder)
    younger = line.add([*shared, *some_ids(chance, 5)])
    plan = line.step()
    assert [chunk.start for chunk in plan.chunks] == [50]
    assert any(isinstance(move, Copy) for move in plan.moves) is not gone
    line.until(younger, 6)
    check(kind, line, elder, younger)


@each_kind
def test_a_conversation_that_goes_on_keeps_the_answer_it_had(kind: str) -> None:
    line, chance = stepped(kind), random.Random(5)
    first = line.add(some_ids(chance, 20))
    line.until(first, 15)
    line.end(first)
    second = line.add([*first.tokens, *some_ids(chance, 9)])
    assert line.step().chunks[0].start == len(first.tokens) - 1
    line.until(second, 5)
    check(kind, line, second)


@each_kind
@pytest.mark.parametrize("fixed", [False, True])
def test_a_scored_prompt_gets_the_logits_of_all_its_positions(kind: str, fixed: bool) -> None:
    own: Any = models(kind)[0]
    line, chance = stepped(kind, fixed=fixed), random.Random(6)
    other, scored = line.add(some_ids(chance, 40)), line.add(some_ids(chance, 100), scored=True)
    line.until(scored, 3, budget=50)
    with torch.inference_mode():
        rows = own(input_ids=torch.tensor([scored.prompt.tolist()]), use_cache=False).logits[0]
    close(line.scores[scored], rows)
    check(kind, line, other, scored)


@each_kind
@pytest.mark.parametrize("fixed", [False, True])
def test_the_last_token_that_a_slot_has_room_for_is_right(kind: str, fixed: bool) -> None:
    line, chance = stepped(kind, slots=2, length=40, fixed=fixed), random.Random(7)
    one, two = line.add(some_ids(chance, 30)), line.add(some_ids(chance, 39))
    line.until(two, 1)
    line.end(two)
    line.until(one, 11)
    assert one.computed == 40
    check(kind, line, one, two)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixtral"])
def test_a_row_is_the_same_to_the_last_bit_whoever_is_in_the_others(kind: str) -> None:
    """As long as there are as many of them, and the longest is as long. Experts are another matter:
    they multiply as many rows at a time as were sent to them."""
    rows = []
    for seed in (1, 2):
        line, chance = stepped(kind), random.Random(seed)
        one = line.add(range(10))
        for _ in range(3):
            line.add(some_ids(chance, 12))
        line.until(one, 8)
        rows.append(torch.stack(line.rows[one]))
    assert torch.equal(rows[0], rows[1])


def test_a_wiped_slot_has_nothing_left_that_is_no_number() -> None:
    line, chance = stepped("llama", slots=2), random.Random(8)
    two, one = line.add(some_ids(chance, 5)), line.add(some_ids(chance, 30))
    line.until(one, 2)
    for tensor in line.cache.values:
        tensor[one.seat, :, : one.computed] = float("nan")
    slot = one.seat
    line.runner.wipe(one)
    line.scheduler.remove(one, keep=False)
    three = line.add(some_ids(chance, 4))
    line.until(three, 4)
    assert three.seat == slot
    check("llama", line, two, three)
