"""The model in the middle of its training."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.courses import CPU, Heard, a_course, a_student, plain_descent, sentences, weights
from support.families import a_model
from support.tiny_glm import tiny_glm
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from danlu.training.course.collate import collate
from danlu.training.course.evaluation import evaluate
from danlu.training.course.loop import train
from danlu.training.course.optimiser import optimiser_for
from danlu.training.course.precision import Precision
from danlu.training.course.student import Student
from danlu.training.learner import Learner, recompute_layers
from danlu.training.peers import Alone
from danlu.training.progress import Progress
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    num_train_epochs=2,
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-2,
    max_grad_norm=0.5,
    save_strategy="no",
)


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    store = torch._C._distributed_c10d.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def dealt(learner: Learner) -> dict[str, torch.Tensor]:
    """Whole copies of the weights that are dealt out."""
    named = learner.named_parameters()
    return {n: p.full_tensor().detach().clone() for n, p in named if isinstance(p, DTensor)}


def a_gradient(student: Student) -> list[torch.Tensor]:
    """Of a batch, times 2."""
    student.learn(collate([[sample] for sample in sentences(2)]), 2.0)
    grads = [p.grad for p in student.learner.parameters()]
    assert None not in grads
    return [grad.clone() for grad in grads if grad is not None]


def test_a_gradient_is_shortened_to_what_is_allowed() -> None:
    model = tiny_glm()
    student = a_student(SETTINGS, model, optimiser=plain_descent(model, 0.0))
    before = weights(student)
    grads = a_gradient(student)
    norm = student.step(1.0, longest=0.5, scale=2.0)
    assert norm == pytest.approx(float(torch.cat([g.flatten() for g in grads]).norm()) / 2)
    moved = torch.cat([(before[n] - w).flatten() for n, w in weights(student).items()])
    assert float(moved.norm()) == pytest.approx(0.5, rel=1e-3)


def test_a_gradient_that_is_short_enough_or_free_stays_as_it_is() -> None:
    for longest in (0.0, 1e6):
        model = tiny_glm()
        student = a_student(SETTINGS, model, optimiser=plain_descent(model, 0.0))
        before = weights(student)
        grads = a_gradient(student)
        student.step(1.0, longest=longest, scale=2.0)
        for (name, weight), grad in zip(weights(student).items(), grads, strict=True):
            torch.testing.assert_close(before[name] - weight, grad / 2, rtol=1e-3, atol=1e-3)


def test_a_step_forgets_its_gradients_also_where_it_is_left_out() -> None:
    for spoilt in (1.0, float("nan")):
        student = a_student(SETTINGS)
        student.learn(collate([[sample] for sample in sentences(2)]), spoilt)
        student.step(1e-2, longest=1.0)
        assert all(p.grad is None for p in student.learner.parameters())


def test_chance_is_told_by_numbers_alone() -> None:
    student = a_student(SETTINGS)

    def drawn(*numbers: int) -> list[float]:
        student.draw(*numbers)
        found: list[float] = torch.rand(4).tolist()
        return found

    assert drawn(42, 1, 0, 0) == drawn(42, 1, 0, 0)
    others = [drawn(42, 2, 0, 0), drawn(42, 1, 1, 0), drawn(42, 1, 0, 1), drawn(43, 1, 0, 0)]
    assert drawn(42, 1, 0, 0) not in others


@pytest.mark.slow
def test_a_sharded_model_trains_as_a_whole_one(group: None) -> None:
    """Also where layers are computed twice, a part is frozen, and gradients are shortened."""
    found = []
    for sharded in (False, True):
        model: Any = a_model("llama", attention_dropout=0.2)
        model.get_input_embeddings().requires_grad_(False)
        learner = Learner(model)
        recompute_layers(learner)
        if sharded:
            mesh = init_device_mesh("cpu", (1,))
            for layer in model.get_decoder().layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(learner, mesh=mesh)
        student = Student(learner, optimiser_for(learner, SETTINGS), CPU, casts=sharded)
        heard = Heard()
        train(a_course(SETTINGS, sentences(7), student=student, listener=heard), Progress())
        found.append((heard.measures, weights(student)))
    (theirs, whole), (ours, shards) = found
    assert ours == theirs
    for name, weight in shards.items():
        assert isinstance(weight, DTensor)
        assert torch.equal(weight.full_tensor(), whole[name])


@pytest.mark.slow
def test_a_sharded_model_casts_its_own_weights(group: None) -> None:
    learner = Learner(tiny_glm().requires_grad_(True))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    fully_shard(learner, mesh=init_device_mesh("cpu", (1,)), mp_policy=policy)
    precision = Precision(torch.bfloat16)
    student = Student(
        learner, optimiser_for(learner, SETTINGS), CPU, precision=precision, casts=True
    )
    heard = Heard()
    train(a_course(SETTINGS, sentences(7), student=student, listener=heard), Progress())
    assert heard.losses[-1] < heard.losses[0]
    assert all(p.dtype == torch.float32 for p in learner.parameters())


@pytest.mark.slow
def test_a_sharded_model_is_dealt_out_again_once_it_was_examined(group: None) -> None:
    """Else a checkpoint behind an evaluation had rounded weights, and no optimiser for them."""
    learner = Learner(tiny_glm().requires_grad_(True))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    fully_shard(learner, mesh=init_device_mesh("cpu", (1,)), mp_policy=policy)
    student = Student(learner, optimiser_for(learner, SETTINGS), CPU, casts=True)
    before = dealt(learner)
    evaluate(student, Listed(sentences(3)), Alone(), rows=2)
    after = dealt(learner)
    assert list(after) == list(before) == [name for name, _ in learner.named_parameters()]
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())
    assert learner.training
