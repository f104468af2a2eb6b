"""Small trainings: sentences for a tiny model, listeners and keepers that remember."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
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

CPU = torch.device("cpu")
END = 2


def a_sample(*ids: int, asked: int = 1) -> Sample:
    """`ids`, of which those after the first `asked` are learned."""
    trained = np.arange(len(ids)) >= asked
    return Sample(np.array(ids, dtype=np.int32), trained)


def sentences(count: int = 5, *, seed: int = 0) -> list[Sample]:
    """Three tokens that ask, and an answer of three to nine that ends; no two ask the same."""
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
        self.checkpoints: list[Path] = []

    def begun(self, at: Progress, steps: int) -> None:
        self.steps = steps

    def measured(self, what: Measured) -> None:
        self.measures.append(what)

    def evaluated(self, what: Evaluated) -> None:
        self.evaluations.append(what)

    def saved(self, checkpoint: Path) -> None:
        self.checkpoints.append(checkpoint)

    @property
    def losses(self) -> list[float]:
        return [what.loss for what in self.measures]


@dataclass
class Kept:
    """A keeper that remembers where each checkpoint was."""

    at: list[Progress] = field(default_factory=list)

    def save(self, at: Progress) -> Path:
        self.at.append(at)
        return Path(f"checkpoint-{at.step}")


def a_student(
    settings: TrainingSettings, model: PreTrainedModel | None = None, **how: Any
) -> Student:
    """A model, a tiny GLM if not given, all of whose weights are trained."""
    learner = Learner((model or tiny_glm()).requires_grad_(True))
    return Student(learner, optimiser_for(learner, settings), CPU, **how)


def a_course(settings: TrainingSettings, samples: list[Sample], **parts: Any) -> Course:
    """A training on this processor, by one process."""
    made: dict[str, Any] = {"peers": Alone(), "keeper": Kept(), "listener": Heard()}
    made["student"] = parts.pop("student", None) or a_student(settings)
    return Course(settings, samples=Listed(samples), **{**made, **parts})
