"""Steps that the library computes give what the model gives, and to nobody what is another's."""

import copy
import logging
import random
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from support.card import HOST, card
from support.decoders import CONTEXT, KINDS, SIZES, decoder_model
from support.stepping import Stepped, answered, generated, own_rows, some_ids
from support.tiny import random_model
from torch import Tensor
from transformers import Gemma2Config, LlamaConfig, PreTrainedModel

from danlu.adapters.kernels.decoder import decoder_for
from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import use
from danlu.worker.kv_cache import KvCache
from danlu.worker.sequence import Sequence
from danlu.worker.shapes import Shapes
from danlu.worker.suitability import Fit, fitted
from danlu.worker.trial import trusted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("bound"),
    pytest.mark.skipif(card() != HOST, reason="the library is for the host"),
]
each_kind = pytest.mark.parametrize("kind", KINDS)
few = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def models(
    kind: str, own_library: Library, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedModel, Fit]:
    """The model as it is, and one for the library."""
    own = decoder_model(kind, dtype)
    plugged = copy.deepcopy(own)
    use(own_library, plugged)
    return own, plugged, fitted(plugged, CONTEXT)


def stepped(kind: str, own_library: Library, **facts: Any) -> Stepped:
    _, plugged, fit = models(kind, own_library)
    return Stepped(plugged, fit, own=True, **facts)


def check(kind: str, own_library: Library, line: Stepped, *sequences: Sequence) -> None:
    """Each token was chosen from what the model itself says there."""
    for sequence in sequences:
        own = own_rows(models(kind, own_library)[0], sequence)
        found = torch.stack(line.rows[sequence])
        torch.testing.assert_close(found, own, rtol=0, atol=5e-5 * float(own.abs().max()))


@each_kind
@few
@given(data=st.data())
def test_a_step_is_the_models_own_whatever_is_in_it(
    kind: str, own_library: Library, data: st.DataObject
) -> None:
    """Parts of prompts, drafts and answers, in slots with gaps between them, on some threads."""
    line = stepped(kind, own_library)
    chance = random.Random(data.draw(st.integers(0, 999)))
    sequences = [line.add(some_ids(chance, chance.randint(1, 60))) for _ in range(4)]
    before = torch.get_num_threads()
    torch.set_num_threads(data.draw(st.sampled_from([1, 2, 3])))
    try:
        for _ in range(data.draw(st.integers(4, 12))):
            drafts = {s: some_ids(chance, chance.randint(0, 4)) for s in sequences if s.decoding}
            line.step(data.draw(st.integers(1, 40)), drafts)
            if chance.random() < 0.1 and len(sequences) > 2:
                line.end(sequences.pop(chance.randrange(len(sequences))))
    finally:
        torch.set_num_threads(before)
    check(kind, own_library, line, *[s for s in sequences if line.rows[s]])


@each_kind
def test_a_greedy_answer_is_what_generate_gives(kind: str, own_library: Library) -> None:
    own: Any = models(kind, own_library)[0]
    line, chance = stepped(kind, own_library), random.Random(4)
    sequences = [line.add(some_ids(chance, count)) for count in (3, 50, 17, 1)]
    for _ in range(30):
        line.step(24)
    for sequence in sequences:
        count = len(line.rows[sequence])
        assert count > 20
        assert sequence.tokens == generated(own, sequence, count)


@each_kind
@few
@given(data=st.data())
def test_a_text_is_the_same_alone_and_among_others_to_the_bit(
    kind: str, own_library: Library, data: st.DataObject
) -> None:
    """As long as it is read at once: a run is computed in another way than single tokens."""
    chance = random.Random(data.draw(st.integers(0, 999)))
    prompt = some_ids(chance, data.draw(st.integers(1, 27)))
    alone = answered(stepped(kind, own_library), prompt, [])
    mates = [some_ids(chance, chance.randint(1, 10)) for _ in range(data.draw(st.integers(1, 3)))]
    assert torch.equal(answered(stepped(kind, own_library), prompt, mates), alone)


@each_kind
def test_bfloat16_is_as_near_as_the_models_own(kind: str, own_library: Library) -> None:
    """Both beside the same weights in float32."""
    rough, plugged, fit = models(kind, own_library, torch.bfloat16)
    line, chance = Stepped(plugged, fit, own=True), random.Random(7)
    sequence = line.add(some_ids(chance, 20))
    line.until(sequence, 5)
    same: Any = copy.deepcopy(rough)
    exact = own_rows(same.float(), sequence)
    found, models_own = torch.stack(line.rows[sequence]), own_rows(rough, sequence).float()
    assert (found - exact).norm() < 1.2 * (models_own - exact).norm()


def test_what_is_no_number_stays_with_its_text(own_library: Library) -> None:
    line, chance = stepped("llama", own_library), random.Random(3)
    ill, well = line.add(some_ids(chance, 9)), line.add(some_ids(chance, 9))
    line.until(well, 1)
    line.cache.keys[0][ill.seat] = float("nan")
    line.step()
    assert line.rows[ill][-1].isnan().all()
    check("llama", own_library, line, well)


def test_models_that_the_library_does_not_know_are_left_to_torch(own_library: Library) -> None:
    for config in (
        Gemma2Config(**SIZES, head_dim=16),
        LlamaConfig(**SIZES, head_dim=24),
        LlamaConfig(**SIZES, hidden_act="gelu"),
        LlamaConfig(**{**SIZES, "intermediate_size": 72}),
    ):
        model = random_model(config)
        use(own_library, model)
        assert decoder_for(model, *some_cache(model)) is None
    plain = random_model(LlamaConfig(**SIZES))
    assert decoder_for(plain, *some_cache(plain)) is None
    half: Any = random_model(LlamaConfig(**SIZES))
    half.half()
    use(own_library, half)
    assert decoder_for(half, *some_cache(half)) is None


def some_cache(model: PreTrainedModel) -> tuple[list[Tensor], list[Tensor]]:
    config: Any = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = (5, config.num_key_value_heads, CONTEXT, size)
    return ([torch.zeros(shape, dtype=model.dtype) for _ in range(2)] for _ in range(2))  # type: ignore[return-value]


@each_kind
def test_a_decoder_is_trusted_that_says_what_the_model_says(
    kind: str, own_library: Library
) -> None:
    line = stepped(kind, own_library)
    model = models(kind, own_library)[1]
    shapes = Shapes(CONTEXT, rows=4, part=64, fixed=False)
    assert trusted(line.decoder, model, line.cache, shapes) is line.decoder


def test_one_that_says_something_else_is_not(
    own_library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a version of transformers that computes something in another way."""
    own, plugged, fit = models("glm", own_library)
    changed = copy.deepcopy(plugged)
    cache = KvCache(fit.layers, 4, CONTEXT, own.dtype, own.device)
    decoder = decoder_for(changed, cache.keys, cache.values)
    assert decoder is not None
    changed.model.layers[1].post_attention_layernorm.variance_epsilon = 1.0
    shapes = Shapes(CONTEXT, rows=4, part=64, fixed=False)
    with caplog.at_level(logging.WARNING):
        assert trusted(decoder, changed, cache, shapes) is None
    assert "steps are torch's: the library's results differ by" in caplog.text
