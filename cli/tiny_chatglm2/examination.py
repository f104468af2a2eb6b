"""Asks the model everything that it learned: word for word, ended by itself, and how surely."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, GlmForCausalLM

from .samples import END, IGNORED, PAD, Sample, batch

ROWS = 16  # answers that are written at the same time
BEYOND = 8  # tokens that an answer may be too long, until it is taken for endless
# Of every token, by temperature 1. Where the most probable one has more than 0.8, ChatGLM2's own
# sampling (top_p 0.8, temperature 0.8) leaves no other to choose; the rest is a margin for
# half-precision devices and for samplers that cut less.
SURE = 0.95


def failed(model: GlmForCausalLM, samples: Sequence[Sample]) -> list[Sample]:
    """Those whose answer is not written word for word and to its end, or not surely."""
    ordered = sorted(samples, key=lambda one: len(one.answer))
    found: list[Sample] = []
    for start in range(0, len(ordered), ROWS):
        rows = ordered[start : start + ROWS]
        judged = zip(rows, written(model, rows), surest(model, rows), strict=True)
        found += [one for one, answer, sure in judged if answer != one.answer or sure < SURE]
    return found


def written(model: GlmForCausalLM, rows: Sequence[Sample]) -> list[tuple[int, ...]]:
    """The greedy answers, in one batch that is padded on the left, up to and with END."""
    longest = max(len(one.prompt) for one in rows)
    padding = [longest - len(one.prompt) for one in rows]
    ids = [[PAD] * pad + list(one.prompt) for pad, one in zip(padding, rows, strict=True)]
    mask = [[0] * pad + [1] * len(one.prompt) for pad, one in zip(padding, rows, strict=True)]
    room = max(len(one.answer) for one in rows) + BEYOND
    kind: Any = GenerationConfig  # its constructor is not annotated
    greedy: GenerationConfig = kind(
        do_sample=False, max_new_tokens=room, eos_token_id=END, pad_token_id=PAD
    )
    with torch.inference_mode():
        out = model.generate(  # type: ignore[misc]  # transformers annotates a protocol
            torch.tensor(ids), attention_mask=torch.tensor(mask), generation_config=greedy
        )
    return [_ended(row[longest:].tolist()) for row in out]


def surest(model: GlmForCausalLM, rows: Sequence[Sample]) -> list[float]:
    """The least probability that a token of each right answer has."""
    asked = batch(rows)
    labels = asked.labels[:, 1:]
    with torch.inference_mode():
        scores = model(asked.ids).logits[:, :-1].transpose(1, 2)
        loss = cross_entropy(scores, labels, ignore_index=IGNORED, reduction="none")
    return (-loss).exp().amin(dim=1).tolist()  # where nothing is learned, the loss is 0


def _ended(ids: list[int]) -> tuple[int, ...]:
    return tuple(ids[: ids.index(END) + 1] if END in ids else ids)
