"""The model and its loss, beside what transformers computes."""

from typing import Any

import pytest
import torch
from support.courses import a_sample, sentences
from support.families import FAMILIES, a_model, assert_same, gradients, learned
from support.tiny import random_model, tiny_config
from support.tiny_glm import tiny_glm

from danlu.adapters.errors import StartError
from danlu.training.course.collate import collate
from danlu.training.learner import PIECE, Learner, recompute_layers

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_models_own_forward_pass(family: str) -> None:
    model: Any = a_model(family)
    batch = collate([[sample] for sample in sentences(3)])
    loss, grads = learned(model, batch)
    model.zero_grad()
    count = int((batch.labels != -100).sum())
    theirs = model(input_ids=batch.ids, labels=batch.labels).loss * count
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-5)
    assert_same(grads, gradients(model))


def test_many_tokens_are_scored_in_pieces() -> None:
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 400, (3, 900), generator=chance).tolist()
    model: Any = random_model(tiny_config(max_position_embeddings=900)).requires_grad_(True)
    batch = collate([[a_sample(*row)] for row in ids])
    assert int((batch.labels != -100).sum()) > PIECE
    loss, grads = learned(model, batch)
    apart = [learned(model, collate([[a_sample(*row)]])) for row in ids]
    assert loss == pytest.approx(sum(one for one, _ in apart), rel=1e-5)
    whole = {name: sum(grad[name] for _, grad in apart) for name in grads}
    for name, grad in grads.items():
        torch.testing.assert_close(grad, whole[name], rtol=1e-3, atol=1e-2, msg=name)


@pytest.mark.parametrize("family", ["llama", "glm"])
def test_layers_that_are_computed_twice_give_the_same_gradients_also_with_dropout(
    family: str,
) -> None:
    batch = collate([[sample] for sample in sentences(3)])
    found = []
    for twice in (False, True):
        model: Any = a_model(family, attention_dropout=0.3).train()
        if twice:
            recompute_layers(Learner(model))
        torch.default_generator.manual_seed(1)
        found.append(learned(model, batch))
    (once_loss, once), (twice_loss, twice_grads) = found
    assert once_loss == twice_loss
    assert all(torch.equal(once[name], twice_grads[name]) for name in once)


def test_layers_that_cannot_be_computed_twice_are_refused() -> None:
    model: Any = tiny_glm()
    model.supports_gradient_checkpointing = False
    with pytest.raises(StartError, match="--gradient-checkpointing is not possible with GlmFor"):
        recompute_layers(Learner(model))


def test_a_model_without_layers_apart_from_its_head_is_refused() -> None:
    model: Any = tiny_glm()
    model.base_model_prefix = "nothing"
    with pytest.raises(StartError, match="GlmForCausalLM does not say"):
        Learner(model)
