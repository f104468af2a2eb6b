"""A program: random steps of small models, with the library that the compiler in argv[1] makes.

Started by adapters/kernels/test_sanitized.py, with the sanitizers in memory; these judge it.
"""

import os
import random
import sys
from typing import Any

import torch
from transformers import PreTrainedModel

from danlu.adapters.kernels.decoder import Tokens, decoder_for
from danlu.adapters.kernels.library import Library, library
from danlu.adapters.kernels.linear import use

from .decoders import CONTEXT, KINDS, decoder_model
from .packing import MIXED, packed

SLOTS = 3
RUN = 17  # tokens from which on they are taken together
Part = tuple[int, int, int]  # slot, first place, tokens


def main() -> None:
    own = library(os.environ, sys.argv[1])
    assert own is not None
    for dtype in (torch.float32, torch.bfloat16):
        for kind in KINDS:
            read(own, decoder_model(kind, dtype), dtype, random.Random(kind))
        if own.integers:
            read(own, packed("qwen3", own, MIXED, dtype)[0], dtype, random.Random("packed"))


def read(own: Library, model: PreTrainedModel, dtype: torch.dtype, chance: random.Random) -> None:
    """Each kind of step on some threads; what is behind a cache's last entry is nobody's."""
    use(own, model)
    config: Any = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = (SLOTS, config.num_key_value_heads, CONTEXT, size)
    keys, values = (
        [torch.zeros(shape, dtype=dtype) for _ in range(config.num_hidden_layers)] for _ in range(2)
    )
    decoder = decoder_for(model, keys, values)
    assert decoder is not None
    for parts in steps(chance, own.few):
        torch.set_num_threads(chance.randint(1, 3))
        with torch.inference_mode():
            decoder.run(tokens(parts, chance))


def steps(chance: random.Random, few: int) -> list[list[Part]]:
    """Few tokens, runs with single tokens beside them, and many; each also in the last entry."""
    single, run = [last(1)], [last(chance.randint(RUN, 60)), any_part(chance, RUN)]
    beside = [any_part(chance, 1) for _ in range(chance.randint(1, 9))]
    return [
        single,
        single + beside,
        run,
        beside + run + single,
        [last(CONTEXT), any_part(chance, few + 1 - CONTEXT), *beside],
        [any_part(chance, 1) for _ in range(few + chance.randint(1, 5))] + single,
    ]


def last(count: int) -> Part:
    return SLOTS - 1, CONTEXT - count, count


def any_part(chance: random.Random, count: int) -> Part:
    return chance.randrange(SLOTS), chance.randint(0, CONTEXT - count), count


def tokens(parts: list[Part], chance: random.Random) -> Tokens:
    places = [first + i for _, first, count in parts for i in range(count)]
    slots = [slot for slot, _, count in parts for _ in range(count)]
    ids = [chance.randrange(99) for _ in places]
    wanted = chance.choices(range(len(ids)), k=chance.choice((0, 1, 5, len(ids))))
    return Tokens(
        *(torch.tensor(each, dtype=torch.long) for each in (ids, places, slots, places, wanted))
    )


if __name__ == "__main__":
    main()
