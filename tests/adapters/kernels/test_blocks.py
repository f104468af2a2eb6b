"""Tokens of one text that come together find what each finds in any other run, to the bit."""

from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from support.decoders import CONTEXT, KINDS, WIDE, decoder_model
from torch import Tensor
from transformers import PreTrainedModel

from danlu.adapters.kernels.decoder import Decoder, Tokens, decoder_for
from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import use

pytestmark = pytest.mark.slow
RUN = 17  # tokens from which on they are taken together
SLOTS = 3
FORMATS = (torch.float32, torch.bfloat16)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in KINDS},
    "eight heads to a key": ("llama", WIDE),
}
kinds = st.sampled_from(tuple(FAMILIES))
formats = st.sampled_from(FORMATS)
lengths = st.lists(st.integers(RUN, 40), min_size=1, max_size=3)
untimed = settings(max_examples=12)


@cache
def models(kind: str, library: Library, dtype: torch.dtype) -> tuple[PreTrainedModel, Any]:
    """One for the library, and what it is in float64."""
    family, more = FAMILIES[kind]
    model, twin = decoder_model(family, dtype, **more), decoder_model(family, dtype, **more)
    twin.load_state_dict(model.state_dict())
    use(library, model)
    return model, twin.double()


class Reader:
    """Texts in slots whose unwritten entries are no numbers."""

    def __init__(self, kind: str, library: Library, dtype: torch.dtype = torch.float32) -> None:
        model, self.exact = models(kind, library, dtype)
        config: Any = model.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (SLOTS, config.num_key_value_heads, CONTEXT, size)
        layers = range(config.num_hidden_layers)
        self.keys, self.values = (
            [torch.full(shape, float("nan"), dtype=dtype) for _ in layers] for _ in range(2)
        )
        decoder = decoder_for(model, self.keys, self.values)
        assert decoder is not None
        self._decoder: Decoder = decoder

    def step(self, *runs: tuple[int, int, Tensor], threads: int = 1) -> list[Tensor]:
        """Logits for all tokens of each run, which are (slot, first place, ids)."""
        ids = torch.cat([ids for _, _, ids in runs])
        places = torch.cat([torch.arange(first, first + len(ids)) for _, first, ids in runs])
        slots = torch.cat([torch.full((len(ids),), slot) for slot, _, ids in runs])
        wanted = torch.arange(len(ids))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                found = self._decoder.run(Tokens(ids, places, slots, places, wanted))
        finally:
            torch.set_num_threads(before)
        return list(torch.split(found, [len(ids) for _, _, ids in runs]))

    def parts(self, text: Tensor, counts: list[int], *, slot: int = 0, threads: int = 1) -> Tensor:
        """Logits for all of a text that is read in parts."""
        ends = pairwise(accumulate(counts, initial=0))
        some = [
            self.step((slot, first, text[first:last]), threads=threads)[0] for first, last in ends
        ]
        return torch.cat(some)


def a_text(count: int, seed: int = 0) -> Tensor:
    return torch.randint(96, (count,), generator=torch.Generator().manual_seed(seed))


def exact_logits(reader: Reader, text: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = reader.exact(input_ids=text.unsqueeze(0), use_cache=False).logits[0]
    return logits


@untimed
@given(kind=kinds, counts=lengths, threads=st.integers(1, 3))
def test_a_run_finds_what_the_model_says(
    own_library: Library, kind: str, counts: list[int], threads: int
) -> None:
    reader, text = Reader(kind, own_library), a_text(sum(counts))
    found, exact = reader.parts(text, counts, threads=threads), exact_logits(reader, text)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=5e-5 * float(exact.abs().max()))


@pytest.mark.parametrize("kind", FAMILIES)
def test_in_bfloat16_a_run_is_as_near_as_tokens_one_by_one(own_library: Library, kind: str) -> None:
    text = a_text(50)
    whole, single = (Reader(kind, own_library, torch.bfloat16) for _ in range(2))
    exact = exact_logits(whole, text)
    apart = [
        float((found - exact).norm())
        for found in (whole.parts(text, [50]), single.parts(text, [1] * 50))
    ]
    assert apart[0] < 1.2 * apart[1]


@untimed
@given(kind=kinds, dtype=formats, counts=lengths, threads=st.integers(1, 3))
def test_a_token_is_the_same_in_any_run_to_the_bit(
    own_library: Library, kind: str, dtype: torch.dtype, counts: list[int], threads: int
) -> None:
    text = a_text(sum(counts))
    whole = Reader(kind, own_library, dtype).parts(text, [len(text)])
    parts = Reader(kind, own_library, dtype).parts(text, counts, threads=threads)
    assert torch.equal(whole, parts)


@untimed
@given(kind=kinds, dtype=formats, count=st.integers(1, RUN - 1), before=st.integers(0, 40))
def test_few_tokens_are_to_the_bit_what_they_are_one_by_one(
    own_library: Library, kind: str, dtype: torch.dtype, count: int, before: int
) -> None:
    """So an answer is the same with drafts and without."""
    text = a_text(before + count)
    first = [before] if before else []
    some = Reader(kind, own_library, dtype).parts(text, [*first, count])
    single = Reader(kind, own_library, dtype).parts(text, [*first, *[1] * count])
    assert torch.equal(some, single)


@untimed
@given(
    kind=kinds,
    dtype=formats,
    count=st.integers(RUN, 50),
    mates=st.tuples(st.integers(1, 40), st.integers(1, 30)),
    threads=st.integers(1, 3),
)
def test_a_run_is_to_the_bit_what_it_is_alone_whoever_is_beside(
    own_library: Library,
    kind: str,
    dtype: torch.dtype,
    count: int,
    mates: tuple[int, int],
    threads: int,
) -> None:
    """Another run, or one token or a few, of other texts: and these are what they are alone."""
    text, first, last = a_text(count), a_text(mates[0], 1), a_text(5 + mates[1], 2)
    together = Reader(kind, own_library, dtype)
    together.step((2, 0, last[:5]))
    runs = ((1, 0, first), (0, 0, text), (2, 5, last[5:]))
    found = together.step(*runs, threads=threads)
    alone = Reader(kind, own_library, dtype)
    alone.step((2, 0, last[:5]))
    for logits, run in zip(found, runs, strict=True):
        assert torch.equal(logits, alone.step(run)[0])


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("place", [0, 9, 33, 49])
def test_nothing_of_a_later_token_comes_to_an_earlier_one(
    own_library: Library, dtype: torch.dtype, place: int
) -> None:
    """Not even what is no number."""
    text, spoilt = a_text(50), a_text(50)
    spoilt[place] = 98  # a word that no text has
    well, ill = (Reader("llama", own_library, dtype) for _ in range(2))
    words: Any = models("llama", own_library, dtype)[0].get_input_embeddings().weight
    kept = words[98].clone()
    words.data[98] = float("nan")
    found, expected = ill.parts(spoilt, [50]), well.parts(text, [50])
    words.data[98] = kept
    assert torch.equal(found[:place], expected[:place])
    assert found[place:].isnan().all()
