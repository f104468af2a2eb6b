"""Steps of many tokens that the library computes give what the model gives, and to nobody what is
another's."""

import copy
import random
from functools import cache
from typing import Any

import pytest
import torch
from support.card import HOST, card
from support.decoders import CONTEXT, WIDE, decoder_model
from support.packing import BFLOAT16, EIGHT, FOUR, MIXED, Bits, packed
from support.stepping import Stepped, own_rows, some_ids
from torch import Tensor
from transformers import PreTrainedModel

from danlu.adapters.kernels.decoder import Tokens, decoder_for
from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import EVERY, use
from danlu.worker.kv_cache import KvCache
from danlu.worker.shapes import Shapes
from danlu.worker.suitability import Fit, fitted
from danlu.worker.trial import trusted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("bound"),
    pytest.mark.skipif(card() != HOST, reason="the library is for the host"),
]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama with biases": ("llama with biases", WIDE),
    "glm": ("glm", {}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_mix = pytest.mark.parametrize("mix", [None, EIGHT, FOUR, MIXED], ids=str)


@cache
def models(
    kind: str, library: Library, mix: Bits | None, dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedModel, Fit]:
    """A model for the library, and in float32 one of what its weights amount to."""
    family, more = KINDS[kind]
    if mix is not None:
        if not library.integers:
            pytest.skip("this processor multiplies no integers")
        model, exact = packed(family, library, mix, dtype, **more)
    else:
        model = decoder_model(family, dtype, **more)
        twin: Any = copy.deepcopy(model)
        exact = twin.float()
        use(library, model)
    return model, exact, fitted(copy.deepcopy(exact), CONTEXT)


def stepped(
    kind: str, library: Library, mix: Bits | None = None, dtype: torch.dtype = torch.float32
) -> Stepped:
    """Whose steps are the library's, however many tokens they have."""
    model, _, fit = models(kind, library, mix, dtype)
    line = Stepped(model, fit, own=True)
    assert line.decoder is not None
    line.decoder.most = EVERY
    return line


def read(
    line: Stepped, library: Library, prompt: list[int], *mates: list[int], threads: int = 1
) -> Tensor:
    """The rows that two tokens after `prompt` were chosen from; all prompts are read at once."""
    for mate in mates:
        line.add(mate)
    sequence = line.add(prompt)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert line.step(EVERY).prompt_tokens > library.few
        line.step()
    finally:
        torch.set_num_threads(before)
    return torch.stack(line.rows[sequence])


@each_kind
@each_mix
@pytest.mark.parametrize("threads", [1, 3])
def test_they_are_what_the_weights_amount_to(
    kind: str, own_library: Library, mix: Bits | None, threads: int
) -> None:
    line, chance = stepped(kind, own_library, mix), random.Random(5)
    prompts = [some_ids(chance, count) for count in (58, 33, 64, 2)]
    read(line, own_library, *prompts, threads=threads)
    model = models(kind, own_library, mix, torch.float32)[1]
    for sequence, rows in line.rows.items():
        exact = own_rows(model, sequence)
        # the output layer, and the second token's step, are products of few rows: there rows of x
        # lose something as integers
        near = torch.tensor([2e-5, 2e-5] if mix is None else [1e-4, 1e-3]) * exact.norm(dim=1)
        assert bool(((torch.stack(rows) - exact).norm(dim=1) < near).all())


@each_kind
@each_mix
def test_in_bfloat16_they_are_as_near_as_a_step_of_few(
    kind: str, own_library: Library, mix: Bits | None
) -> None:
    chance = random.Random(7)
    prompt, *mates = [some_ids(chance, 61) for _ in range(3)]
    many = read(stepped(kind, own_library, mix, BFLOAT16), own_library, prompt, *mates)
    few = stepped(kind, own_library, mix, BFLOAT16)
    sequence = few.add(prompt)
    few.until(sequence, 2)
    exact = own_rows(models(kind, own_library, mix, BFLOAT16)[1], sequence)[0]
    assert (many[0] - exact).norm() < 1.5 * (few.rows[sequence][0] - exact).norm()


@each_kind
@each_mix
def test_each_is_what_it_is_whatever_the_others_are_to_the_bit(
    kind: str, own_library: Library, mix: Bits | None
) -> None:
    chance = random.Random(5)
    prompt = some_ids(chance, 47)
    found = [
        read(
            stepped(kind, own_library, mix),
            own_library,
            prompt,
            *[some_ids(chance, count) for count in others],
            threads=threads,
        )
        for others, threads in (((64, 64), 1), ((33, 60), 2), ((64, 64, 12), 3))
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@each_kind
@each_mix
def test_what_is_no_number_stays_with_its_text(
    kind: str, own_library: Library, mix: Bits | None
) -> None:
    line, chance = stepped(kind, own_library, mix), random.Random(3)
    ill = line.add(some_ids(chance, 30))
    line.step(9)
    line.cache.keys[0][ill.seat] = float("nan")
    well = read(line, own_library, *[some_ids(chance, 61) for _ in range(3)])
    assert line.rows[ill][0].isnan().all()
    assert well.isfinite().all()


class Wrong:
    """A decoder whose steps of many tokens are not right."""

    def __init__(self, decoder: Any, few: int) -> None:
        self._decoder, self._few, self.most = decoder, few, EVERY

    def run(self, tokens: Tokens) -> Tensor:
        found: Tensor = self._decoder.run(tokens)
        return -found if len(tokens.ids) > self._few else found


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, BFLOAT16])
def test_a_library_that_is_wrong_about_many_tokens_is_not_trusted(
    kind: str, own_library: Library, dtype: torch.dtype
) -> None:
    model = copy.deepcopy(models(kind, own_library, None, dtype)[0])
    fit = fitted(model, CONTEXT)
    cache = KvCache(fit.layers, 4, 2 * CONTEXT, model.dtype, model.device)
    shapes = Shapes(2 * CONTEXT, rows=4, part=64, fixed=False)
    decoder: Any = decoder_for(model, cache.keys, cache.values)
    decoder.most = EVERY
    assert trusted(decoder, model, cache, shapes) is decoder
    assert not any(bool(keys.any()) for keys in cache.keys), "the cache is as it was"
    wrong: Any = Wrong(decoder, own_library.few)
    assert trusted(wrong, model, cache, shapes) is None
    wrong.most = own_library.few  # it is not asked for so many
    assert trusted(wrong, model, cache, shapes) is wrong
