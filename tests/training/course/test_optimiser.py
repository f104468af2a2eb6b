"""AdamW over what is trained."""

from typing import Any

from support.tiny_glm import tiny_glm
from transformers import Trainer

from danlu.training.course.optimiser import optimiser_for
from danlu.training.learner import Learner
from danlu.training.settings import TrainingSettings


def test_the_weights_that_decay_are_those_of_transformers() -> None:
    model: Any = tiny_glm().requires_grad_(True)
    trainer: Any = Trainer
    optimiser = optimiser_for(Learner(model), TrainingSettings(weight_decay=0.1))
    decaying, others = optimiser.param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    theirs = set(trainer.get_decay_parameter_names(None, model))
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in decaying["params"]} == theirs
    assert len(decaying["params"]) + len(others["params"]) == len(names)


def test_only_what_is_trained_is_given_to_it_in_one_kernel_where_there_is_one() -> None:
    model: Any = tiny_glm().requires_grad_(False)
    model.get_output_embeddings().weight.requires_grad_(True)
    settings = TrainingSettings(learning_rate=0.1, adam_beta1=0.8, adam_beta2=0.9)
    (group,) = optimiser_for(Learner(model), settings).param_groups
    assert len(group["params"]) == 1
    assert (group["lr"], group["betas"], group["eps"]) == (0.1, (0.8, 0.9), 1e-8)
    assert group["fused"], "there is one for processors"


def test_a_device_without_such_a_kernel_has_torchs_default() -> None:
    model: Any = tiny_glm()
    model.to("meta").requires_grad_(True)
    for group in optimiser_for(Learner(model), TrainingSettings()).param_groups:
        assert group["fused"] is None
