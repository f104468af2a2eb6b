"""Which layers are sharded one by one, and what the log says of it."""

from typing import Any

import pytest
from support.tiny import tiny_model
from support.tiny_glm import tiny_glm

from danlu.adapters.errors import StartError
from danlu.training.learner import Learner
from danlu.training.parallel.sharding import Part, layers_of, said


def test_a_models_own_layers_are_found() -> None:
    for model in (tiny_glm(), tiny_model()):
        inner: Any = model.base_model
        assert layers_of(Learner(model)) == list(inner.layers)


def test_the_originals_name_for_a_layer_means_ours() -> None:
    learner = Learner(tiny_glm())
    assert layers_of(learner, "GLMBlock") == layers_of(learner, "GlmDecoderLayer")
    assert layers_of(learner, "GLMBlock") == layers_of(learner)


def test_a_class_that_is_not_in_the_model_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        StartError, match="GLMBlock is in no LlamaForCausalLM; its layers are LlamaD"
    ):
        layers_of(Learner(tiny_model()), "GLMBlock")


def test_the_log_says_what_is_where_by_the_largest_weight() -> None:
    parts = [Part("norm", (8,), (4,)), Part("head", (100, 8), (50, 8)), Part("one", (1,), (1,))]
    assert said(parts, 2) == "sharded 2 tensors over 2 processes: head 100x8, here 50x8"
    assert said(parts[2:], 2) == "all 1 tensors lie whole in each of 2 processes"
