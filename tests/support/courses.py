"""Small trainings: sentences for a tiny model, listeners and keepers that remember."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from danlu.training.course.loop import Course
from danlu.training.course.optimiser import optimiser_for
from danlu.training.course.student import Student
from danlu.training.learner import Learner
from danlu.training.peers import Alone
from danlu.training.progress import Evaluated, Measured, Progress
from danlu.training.sample import Listed, Sample
from danlu.training.settings import TrainingSettings

from .tiny_glm import tiny_glm
from .together import Sharing

CPU = torch.device("cpu")
END = 2


def a_sample(*ids: int, asked: int = 1) -> Sample:
    """`ids`, of which those after the first `asked` are learned."""
    return Sample(np.array(ids, dtype=np.int32), np.arange(len(ids)) >= asked)


def sentences(count: int = 5, *, seed: int = 0) -> list[Sample]:
    """Three tokens that ask, and an answer of three to nine and an end; no two ask the same."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        asked = [10 + number, *chance.integers(20, 96, 2)]
        answer = chance.integers(20, 96, chance.integers(3, 10))
        made.append(a_sample(*map(int, asked), *map(int, answer), END, asked=3))
    return made


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.steps = 0
        self.measures: list[Measured] = []
        self.evaluations: list[Evaluated] = []
        self.checkpoints: list[str] = []

    def begun(self, at: Progress, steps: int) -> None:
        self.steps = steps

    def measured(self, what: Measured) -> None:
        self.measures.append(replace(what, seconds=0, memory=0))

    def evaluated(self, what: Evaluated) -> None:
        self.evaluations.append(replace(what, seconds=0))

    def saved(self, checkpoint: Path) -> None:
        self.checkpoints.append(checkpoint.name)

    @property
    def losses(self) -> list[float]:
        return [what.loss for what in self.measures]


class Kept:
    """A keeper that remembers, weights and optimiser too if it knows whose."""

    def __init__(self, student: Student | None = None) -> None:
        self._student = student
        self.at: list[Progress] = []
        self.states: list[tuple[Any, Any]] = []

    def save(self, at: Progress) -> Path:
        self.at.append(at)
        if self._student:
            learner, optimiser = self._student.learner, self._student.optimiser
            self.states.append(deepcopy((learner.state_dict(), optimiser.state_dict())))
        return Path(f"checkpoint-{at.step}")


def a_student(
    settings: TrainingSettings, model: PreTrainedModel | None = None, **how: Any
) -> Student:
    """A model, a tiny GLM if not given, all of whose weights are trained; with all `peers`."""
    learner = Learner((model or tiny_glm()).requires_grad_(True))
    how.setdefault("optimiser", optimiser_for(learner, settings))
    kind = Sharing if "peers" in how else Student
    return kind(learner, device=CPU, **how)


def plain_descent(model: PreTrainedModel, rate: float) -> torch.optim.Optimizer:
    """Unlike AdamW's, its steps are as large as their gradients, so these can be compared."""
    return torch.optim.SGD(model.requires_grad_(True).parameters(), lr=rate)


def a_course(settings: TrainingSettings, samples: list[Sample], **parts: Any) -> Course:
    """A training on this processor, by one process."""
    made: dict[str, Any] = {"peers": Alone(), "keeper": Kept(), "listener": Heard()}
    made["student"] = parts.pop("student", None) or a_student(settings)
    return Course(settings, samples=Listed(samples), **{**made, **parts})


def weights(student: Student) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in student.learner.named_parameters()}


def same_bits(one: Student, other: Student) -> bool:
    return all(torch.equal(w, weights(other)[name]) for name, w in weights(one).items())
