"""Steps that the library computes with packed weights give what these weights amount to."""

import copy
import random
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from support.card import HOST, card
from support.decoders import CONTEXT, KINDS, decoder_model
from support.packing import BFLOAT16, EIGHT, FOUR, MIXED, Bits, packed
from support.stepping import Stepped, answered, own_rows, some_ids
from transformers import PreTrainedModel

from danlu.adapters.kernels.decoder import decoder_for
from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import use
from danlu.adapters.models.weight_only.kernel import kernel_for
from danlu.adapters.models.weight_only.linear import packed_linear
from danlu.worker.kv_cache import KvCache
from danlu.worker.shapes import Shapes
from danlu.worker.suitability import Fit, fitted
from danlu.worker.trial import trusted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("bound"),
    pytest.mark.skipif(card() != HOST, reason="the library is for the host"),
]
CLOSE = 1e-3
each_kind = pytest.mark.parametrize("kind", KINDS)
each_mix = pytest.mark.parametrize("mix", [EIGHT, FOUR, MIXED], ids=str)
few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def _(own_library: Library) -> None:
    if not own_library.integers:
        pytest.skip("this processor multiplies no integers")


@cache
def models(
    kind: str, library: Library, mix: Bits, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedModel, Fit]:
    model, exact = packed(kind, library, mix, dtype)
    return model, exact, fitted(copy.deepcopy(exact), CONTEXT)


def stepped(kind: str, library: Library, mix: Bits, dtype: torch.dtype = torch.float32) -> Stepped:
    model, _, fit = models(kind, library, mix, dtype)
    return Stepped(model, fit, own=True)


@each_kind
@each_mix
def test_a_step_is_what_the_weights_amount_to(kind: str, own_library: Library, mix: Bits) -> None:
    """All numbers but the weights are float32, so only what rows of x lose as integers is lost."""
    line, chance = stepped(kind, own_library, mix), random.Random(5)
    sequences = [line.add(some_ids(chance, count)) for count in (3, 41, 17, 1)]
    for _ in range(9):
        drafts = {s: some_ids(chance, chance.randint(0, 4)) for s in sequences if s.decoding}
        line.step(24, drafts)
    for sequence in sequences:
        exact = own_rows(models(kind, own_library, mix)[1], sequence)
        found = torch.stack(line.rows[sequence])
        assert (found - exact).norm() < CLOSE * exact.norm()


@each_mix
@few
@given(data=st.data())
def test_a_text_is_the_same_alone_and_among_others_to_the_bit(
    own_library: Library, mix: Bits, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    dtype = data.draw(st.sampled_from([torch.float32, BFLOAT16]))
    chance = random.Random(data.draw(st.integers(0, 999)))
    prompt = some_ids(chance, data.draw(st.integers(1, 30)))
    mates = [some_ids(chance, chance.randint(1, 10)) for _ in range(data.draw(st.integers(1, 3)))]
    alone = answered(stepped(kind, own_library, mix, dtype), prompt, [])
    before = torch.get_num_threads()
    torch.set_num_threads(data.draw(st.sampled_from([1, 2, 3])))
    try:
        among = answered(stepped(kind, own_library, mix, dtype), prompt, mates)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(among, alone)


@each_kind
@each_mix
def test_bfloat16_is_as_near_as_torchs_steps_with_the_same_kernels(
    kind: str, own_library: Library, mix: Bits
) -> None:
    line, chance = stepped(kind, own_library, mix, BFLOAT16), random.Random(7)
    sequence = line.add(some_ids(chance, 20))
    line.until(sequence, 5)
    torchs = own_rows(packed(kind, own_library, mix, BFLOAT16)[0], sequence).float()
    exact = own_rows(models(kind, own_library, mix, BFLOAT16)[1], sequence)
    found = torch.stack(line.rows[sequence])
    assert (found - exact).norm() < 1.2 * (torchs - exact).norm()


@each_mix
def test_what_is_no_number_stays_with_its_text(own_library: Library, mix: Bits) -> None:
    line, chance = stepped("glm", own_library, mix), random.Random(3)
    ill, well = line.add(some_ids(chance, 9)), line.add(some_ids(chance, 9))
    line.until(well, 1)
    line.cache.keys[0][ill.seat] = float("nan")
    line.step()
    assert line.rows[ill][-1].isnan().all()
    assert line.rows[well][-1].isfinite().all()


@each_kind
@each_mix
def test_a_decoder_of_packed_weights_is_trusted(kind: str, own_library: Library, mix: Bits) -> None:
    model, _ = packed(kind, own_library, mix, BFLOAT16)
    line = Stepped(model, fitted(model, CONTEXT), own=True)
    shapes = Shapes(CONTEXT, rows=4, part=64, fixed=False)
    assert trusted(line.decoder, model, line.cache, shapes) is line.decoder


def test_weights_that_are_packed_for_torchs_kernels_are_left_to_torch(own_library: Library) -> None:
    model = decoder_model("llama", BFLOAT16)
    layer: Any = model.get_submodule("model.layers.0.self_attn.q_proj")
    model.set_submodule(
        "model.layers.0.self_attn.q_proj",
        packed_linear(layer, layer.weight.detach(), kernel_for("cpu", 8), BFLOAT16),
    )
    use(own_library, model)
    fit = fitted(model, CONTEXT)
    cache = KvCache(fit.layers, 4, CONTEXT, model.dtype, model.device)
    assert decoder_for(model, cache.keys, cache.values) is None
