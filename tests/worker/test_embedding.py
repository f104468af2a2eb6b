"""Vectors of texts, of those too that exceed the context."""

from typing import Any

import pytest
import torch
from support.card import twin
from support.tiny import CONTEXT, tiny_model

from danlu.worker.embedding import Embedder

pytestmark = pytest.mark.usefixtures("bound")

LONG = [7 + i % 90 for i in range(2 * CONTEXT + 10)]


def embedder(*, cut: bool) -> Embedder:
    """Its texts are numbers: how many tokens of LONG they have."""
    return Embedder(twin(tiny_model), lambda text: LONG[: int(text)], CONTEXT, cut)


def hidden(ids: list[int]) -> torch.Tensor:
    body: Any = tiny_model().base_model
    with torch.inference_mode():
        states: torch.Tensor = body(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return states


def test_a_text_that_exceeds_the_context_is_the_mean_of_all_its_tokens_part_by_part() -> None:
    steps: list[None] = []
    made = embedder(cut=False).embed([str(len(LONG))], lambda: steps.append(None))
    parts = [LONG[:CONTEXT], LONG[CONTEXT : 2 * CONTEXT], LONG[2 * CONTEXT :]]
    expected = torch.nn.functional.normalize(torch.cat([hidden(p) for p in parts]).mean(0), dim=-1)
    assert made.vectors[0] == pytest.approx(expected.tolist(), abs=1e-5)
    assert made.tokens == len(LONG)
    assert len(steps) == 3  # so that it can be ended before each


def test_a_text_that_exceeds_the_context_is_cut_where_that_was_asked_for() -> None:
    cut = embedder(cut=True).embed([str(len(LONG)), str(CONTEXT)], lambda: None)
    assert cut.vectors[0] == cut.vectors[1]
    assert cut.tokens == 2 * CONTEXT
    whole = embedder(cut=False).embed([str(len(LONG))], lambda: None)
    assert whole.vectors[0] != pytest.approx(cut.vectors[0], abs=1e-5)
