"""What all contenders in training are told, and what is the same for each of them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AutoConfig

from danlu.training.course.evaluation import evaluate
from danlu.training.course.student import Student
from danlu.training.learner import Learner
from danlu.training.parallel.sharding import local
from danlu.training.peers import Peers
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

from ..conversations import OTHERS, conversations
from ..lines import Loaded, converse
from ..passes import Passed

JUDGED = 16  # samples that nobody learns from
RATE = 1e-3  # small models learn at a higher one than large ones
SCHEDULE = "cosine"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The model's directory, threads of a process, samples of a step, and tokens of a sample."""

    kind: str
    model: Path
    threads: int
    batch: int
    longest: int

    def flags(self) -> list[str]:
        """The command line that says the same."""
        return [str(value) for value in asdict(self).values()]

    def samples(self, count: int, seed: int) -> Listed:
        words = AutoConfig.from_pretrained(self.model).vocab_size
        return Listed(conversations(count, seed, words=words, longest=self.longest))

    def settings(self, **changes: Any) -> TrainingSettings:
        """What FastChat's own command line for such a training says; gradients are checkpointed."""
        return TrainingSettings(
            model_name_or_path=str(self.model),
            device="cpu",
            model_max_length=self.longest,
            num_train_epochs=1,
            learning_rate=RATE,
            lr_scheduler_type=SCHEDULE,
            gradient_checkpointing=True,
            **{"per_device_train_batch_size": self.batch, **changes},
        )


def conditions(argv: Sequence[str] | None = None) -> Conditions:
    """From this process' command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("model", type=Path)
    for name in ("threads", "batch", "longest"):
        parser.add_argument(name, type=int)
    return Conditions(**vars(parser.parse_args(sys.argv[1:] if argv is None else argv)))


class Learning(Loaded, Protocol):
    """One way to train one model, loaded."""

    def run(self, count: int, seed: int) -> Passed:
        """A pass over so many samples, from the weights that it was loaded with."""
        ...


def serve(load: Callable[[], Learning]) -> None:
    def reply(contender: Learning, asked: dict[str, Any]) -> dict[str, Any]:
        return asdict(contender.run(asked["count"], asked["seed"]))

    converse(load, reply)


class Beginning:
    """The weights that a model was loaded with, or this process' part of them."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._kept = [part.clone() for part in self._parts()]

    def again(self) -> None:
        for part, kept in zip(self._parts(), self._kept, strict=True):
            part.copy_(kept)

    def _parts(self) -> list[Tensor]:
        return [local(weight.detach()) for weight in self._learner.parameters()]


def judged(student: Student, samples: Listed, peers: Peers) -> float:
    """The loss of samples that were not learned from."""
    return evaluate(student, samples, peers, rows=JUDGED // 2)[0]


def others(asked: Conditions) -> Listed:
    return asked.samples(JUDGED, OTHERS)


def learned(samples: Listed) -> int:
    """Tokens of them that are learned."""
    return sum(int(samples[i].trained.sum()) for i in range(len(samples)))


def bound(asked: Conditions) -> None:
    torch.set_num_threads(asked.threads)
