"""How the tiny model is taught: the pace, and what counts as a mistake."""

import pytest
from support.tiny_glm import tiny_glm

from danlu.cli.tiny_chatglm2.samples import Sample, batch
from danlu.cli.tiny_chatglm2.training import WARM, loss_of, rate


def test_the_pace_rises_at_first_and_falls_to_nothing() -> None:
    paces = [rate(step, 100) for step in range(101)]
    assert 0 < paces[0] < paces[WARM // 2] < paces[WARM] > paces[60] > paces[99] > paces[100] == 0
    assert max(paces) <= 1


def test_the_loss_is_the_one_that_transformers_computes() -> None:
    model = tiny_glm()
    asked = batch([Sample((5, 17, 3), (80, 2)), Sample((41, 9), (8, 8, 7, 2))])
    whole = model(input_ids=asked.ids, labels=asked.labels).loss
    assert loss_of(model, asked).item() == pytest.approx(whole.item(), rel=1e-5)
