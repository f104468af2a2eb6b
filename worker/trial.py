"""Whether the library's steps are the model's own, found out by trying them."""

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..adapters.kernels.decoder import Decoder
from .kv_cache import KvCache
from .runner import Runner
from .scheduler import Chunk, Plan
from .sequence import Sequence
from .shapes import Shapes
from .suitability import CLOSE, CLOSE_IN_HALF, distance

log = logging.getLogger(__name__)

LOOK = (12, 7)  # tokens of the trial's texts,
LONG = 150  # and of one more, whose products are those of many rows


def trusted(
    decoder: Decoder | None, model: PreTrainedModel, cache: KvCache, shapes: Shapes
) -> Decoder | None:
    """The decoder, unless the model says something else; then why, in the log. The cache is as it
    was."""
    if decoder is None:
        return None
    embeddings: Any = model.get_input_embeddings()
    words = len(embeddings.weight)
    own, models = Runner(model, cache, shapes, decoder=decoder), Runner(model, cache, shapes)
    apart = _apart(own, models, words, shapes, decoder.most)
    with torch.inference_mode():
        for slot in range(len(LOOK)):
            cache.wipe(slot, 0, LONG)
    if apart < (CLOSE if model.dtype == torch.float32 else CLOSE_IN_HALF):
        log.info("steps of few tokens are the library's")
        return decoder
    log.warning("steps are torch's: the library's results differ by %.2g of their spread", apart)
    return None


def _apart(one: Runner, other: Runner, words: int, shapes: Shapes, most: int) -> float:
    """The largest distance of a step's results; NaN where they are none."""
    pairs = [(one.run(plan).due, other.run(plan).due) for plan in _plans(words, shapes)]
    if min(LONG, shapes.length) <= most:
        pairs.append(_long(one, words, shapes))
    found = [distance(*pair) for pair in pairs]
    return float(torch.tensor(found).max())  # Python's own passes over a NaN


def _plans(words: int, shapes: Shapes) -> Iterator[Plan]:
    """Texts are read at once, and each goes on with one token."""
    lengths = [min(length, shapes.length - 1) for length in LOOK[: shapes.rows]]
    texts = [_text(slot, length, words) for slot, length in enumerate(lengths)]
    yield Plan((), (), tuple(Chunk(text, 0, len(text.tokens)) for text in texts))
    for text in texts:
        text.computed = len(text.tokens)
        text.tokens.append(1)
    yield Plan((), tuple(texts), ())


def _long(one: Runner, words: int, shapes: Shapes) -> tuple[Tensor, Tensor]:
    """A long text, read at once and in parts. In half precision the model itself errs several times
    as much as the library, and the more so the longer a text is: it is no measure for this."""
    text = _text(0, min(LONG, shapes.length), words)
    half, end = len(text.tokens) // 2, len(text.tokens)
    whole, *parts = (
        one.run(Plan((), (), (Chunk(text, *part),))).due
        for part in ((0, end), (0, half), (half, end))
    )
    return whole, parts[-1]


def _text(slot: int, length: int, words: int) -> Sequence:
    text = Sequence([7919 * (i + slot) % words for i in range(length)])
    text.slot = slot
    return text
