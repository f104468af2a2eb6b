"""Adapters side by side in one batch: each row is what its own model computes alone."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.batches import Batch, apart
from support.card import on_card
from support.peft_models import peft_lora, peft_prefix
from support.tiny import tiny_model
from support.tiny_glm import tiny_glm
from support.tuned import original_prefix, plain_logits, prefixed_logits
from torch import Tensor

from danlu.worker.adapter import BASE, Adapter
from danlu.worker.kv_slots import Copy, Fill, Swap
from danlu.worker.sequence import Sequence

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bound")]

CLOSE = 2e-4  # float32, other orders of summing
LOGITS = Callable[[list[int]], Tensor]


def prompt(seed: int, length: int) -> list[int]:
    return [(seed * 37 + i * 11) % 90 + 3 for i in range(length)]


@dataclass
class Kinds:
    """A batch with its adapters, and what each computes for a text that it is given alone."""

    batch: Batch
    adapters: dict[str, Adapter]
    alone: dict[Adapter, LOGITS]
    home: Path

    def check(self, sequence: Sequence) -> None:
        """Its logits are those of its own model, and so are its words."""
        expected = self.alone[sequence.adapter](sequence.tokens)
        assert apart(self.batch, sequence, expected) < CLOSE
        first = len(sequence.prompt) - 1
        said = self.batch.said(sequence)
        assert said == expected[first : first + len(said)].argmax(-1).tolist()


@pytest.fixture(params=["glm", "llama", "glm on a card"])
def kinds(request: pytest.FixtureRequest, tmp_path: Path, bound: None) -> Kinds:
    """The base, LoRAs of different ranks, scales and layers, two kinds of prefixes."""
    model: Any = copy.deepcopy(tiny_model() if request.param == "llama" else tiny_glm())
    model.requires_grad_(False)
    plain = copy.deepcopy(model)
    small = peft_lora(model, tmp_path / "small", seed=1, r=2, lora_alpha=3)
    large = peft_lora(
        model, tmp_path / "large", seed=2, r=8, lora_alpha=8, use_rslora=True,
        rank_pattern={"o_proj": 3}, alpha_pattern={"layers.1.self_attn.q_proj": 20},
    )  # fmt: skip
    third = peft_lora(model, tmp_path / "third", seed=5, r=5, target_modules=r".*1.*\.[qo]_proj")
    keys, values = original_prefix(tmp_path / "prefix", 7, inner=5, seed=3)
    later = peft_prefix(model, tmp_path / "later", 5, seed=4)
    batch = Batch(on_card(model), fixed="card" in request.param)
    names = ("small", "large", "prefix", "later", "third")
    adapters = {name: batch.load(name, tmp_path / name) for name in names}
    alone: dict[Adapter, LOGITS] = {
        BASE: lambda ids: plain_logits(plain, ids),
        adapters["small"]: lambda ids: plain_logits(small, ids),
        adapters["large"]: lambda ids: plain_logits(large, ids),
        adapters["third"]: lambda ids: plain_logits(third, ids),
        adapters["prefix"]: lambda ids: prefixed_logits(plain, keys, values, ids),
        adapters["later"]: lambda ids: plain_logits(later, ids),
    }
    return Kinds(batch, adapters, alone, tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("base", "small", "large", "prefix", "later", "small"),
        ("third", "small", "large", "prefix", "base", "small"),
    ],
    ids=["two LoRAs", "three LoRAs"],
)
def test_every_row_of_a_mixed_batch_is_what_its_own_model_computes(
    kinds: Kinds, names: tuple[str, ...]
) -> None:
    """Two add one after the other, three at once."""
    kinds.adapters["base"] = BASE
    asked = [
        kinds.batch.ask(prompt(i, 5 + 3 * i), kinds.adapters[name]) for i, name in enumerate(names)
    ]
    kinds.batch.run()
    assert any(len(plan.decode) == 6 for plan in kinds.batch.plans)
    for sequence in asked:
        kinds.check(sequence)


def test_adapters_change_what_is_said(kinds: Kinds) -> None:
    """Else the others prove nothing."""
    asked = [kinds.batch.ask(prompt(1, 9), adapter) for adapter in [BASE, *kinds.adapters.values()]]
    kinds.batch.run()
    assert len({tuple(kinds.batch.said(sequence)) for sequence in asked}) == 6


def test_it_makes_no_difference_in_how_many_parts_a_prompt_is_read(kinds: Kinds) -> None:
    asked = [kinds.batch.ask(prompt(i, 21), a) for i, a in enumerate(kinds.adapters.values())]
    kinds.batch.run(budget=5)
    assert sum(len(plan.chunks) for plan in kinds.batch.plans) > 3 * len(asked)
    for sequence in asked:
        kinds.check(sequence)


@pytest.mark.parametrize("name", ["small", "prefix", "later"])
def test_a_beginning_is_shared_among_requests_of_one_adapter_only(kinds: Kinds, name: str) -> None:
    adapter, begun = kinds.adapters[name], prompt(4, 30)
    for one in (BASE, adapter):
        kinds.batch.ask([*begun, 7, 8], one)
    kinds.batch.run()
    assert not list(kinds.batch.moves(Copy))
    first = len(kinds.batch.plans)
    asked = [kinds.batch.ask([*begun, 9, i], one) for i in (1, 2) for one in (adapter, BASE)]
    kinds.batch.run()
    read = sum(plan.prompt_tokens for plan in kinds.batch.plans[first:])
    assert read == 2 + 2 + 1 + 1, "the second ones share one token more, with the first ones"
    own = adapter.entries
    lengths = [move.length for move in kinds.batch.moves(Copy)]
    assert set(lengths) <= {30, 31, 30 + own, 31 + own} and max(lengths) >= 30 + own
    for sequence in asked:
        kinds.check(sequence)


def test_a_prefix_moves_with_its_slot(kinds: Kinds) -> None:
    """The first ones end early, so that the others move up."""
    brief = [kinds.batch.ask(prompt(i, 4), tokens=1) for i in range(3)]
    names = ("small", "prefix", "later")
    asked = [kinds.batch.ask(prompt(9, 12), kinds.adapters[n], tokens=12) for n in names]
    kinds.batch.run()
    assert any(
        kinds.adapters["prefix"].entries + 12 <= move.length for move in kinds.batch.moves(Swap)
    )
    for sequence in (*brief, *asked):
        kinds.check(sequence)


def test_only_a_prefix_is_put_into_a_slot_before_it_is_read(kinds: Kinds) -> None:
    for adapter in (BASE, *kinds.adapters.values()):
        kinds.batch.ask(prompt(2, 6), adapter)
    kinds.batch.run()
    filled = {move.adapter.name for move in kinds.batch.moves(Fill)}
    assert filled == {"prefix", "later"}


def test_the_base_says_the_same_to_the_last_bit_beside_adapters(kinds: Kinds) -> None:
    """Beside as many others of the base, of the same lengths."""
    spoken = []
    small, large, third = (kinds.adapters[name] for name in ("small", "large", "third"))
    for others in ([BASE] * 4, [small, large, small, large], [small, large, third, large]):
        kinds.batch.forget()
        asked = kinds.batch.ask(prompt(3, 17), tokens=10)
        for i, adapter in enumerate(others):
            kinds.batch.ask(prompt(10 + i, 8), adapter, tokens=10)
        kinds.batch.run()
        spoken.append(torch.stack(kinds.batch.logits[asked]))
    assert torch.equal(spoken[0], spoken[1]) and torch.equal(spoken[0], spoken[2])


def test_an_adapter_that_goes_takes_nothing_from_the_others(kinds: Kinds) -> None:
    for gone in ("small", "large"):
        old = kinds.adapters[gone]
        kinds.batch.tunings.retire(old)
        kinds.adapters[gone] = kinds.batch.load(gone, kinds.home / gone)
        kinds.alone[kinds.adapters[gone]] = kinds.alone[old]
        asked = [kinds.batch.ask(prompt(7, 13), adapter) for adapter in kinds.adapters.values()]
        kinds.batch.run()
        for sequence in asked:
            kinds.check(sequence)
