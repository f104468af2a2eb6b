"""The model in the middle of its training: gradients, their length, one change of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from ..learner import Batch, Learner, on, reshard, trained_parameters
from .precision import Precision

HARDLY = 1e-6  # keeps a gradient of no length from a division by zero; transformers' number


@dataclass(frozen=True, slots=True)
class Student:
    """What is trained, where, and in which numbers.

    A model that several processes share casts its weights itself (`casts`), and adds up, not
    averages, their gradients as they are made.
    """

    learner: Learner
    optimiser: Optimizer
    device: torch.device
    precision: Precision = Precision()
    casts: bool = False

    def losses(self, batch: Batch) -> Tensor:
        """The sum of a micro-batch's losses."""
        precision = Precision() if self.casts else self.precision
        with precision.autocast(self.device):
            loss: Tensor = self.learner(on(batch, self.device))
        return loss

    @contextmanager
    def examined(self) -> Iterator[None]:
        """Losses that are taken inside are only looked at: nothing is dropped, nothing learned.

        Weights that were gathered, and cast, wait for a backward pass. None comes here, so they are
        dealt out again: a checkpoint is next.
        """
        self.learner.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.learner.train()
            reshard(self.learner)

    def learn(self, batch: Batch, factor: float) -> Tensor:
        """Add to the gradients those of the batch's summed loss times `factor`; the sum itself.

        Sharded gradients are spread to their owners each time, not kept whole until the last
        micro-batch: the memory is what a model is sharded for.
        """
        loss = self.losses(batch)
        (loss * factor).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def draw(self, *numbers: int) -> None:
        """Begin a new row of chance, told by `numbers` alone: dropout needs no state to go on."""
        (seed,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
        seed = int(seed) >> 1  # torch's are signed
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def step(self, rate: float, *, longest: float, scale: float = 1.0) -> float:
        """Change the weights, and forget the gradients; how long those were, of all processes.

        Gradients were made from a loss times `scale`. If they are longer than `longest`, which 0
        leaves open, they are shortened. If they are not finite, the weights stay as they are.
        """
        norm = self._norm() / scale
        if math.isfinite(norm):
            self._multiply(min(1.0, longest / (norm + HARDLY)) / scale if longest else 1 / scale)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def _norm(self) -> float:
        norm = get_total_norm([grad.detach() for grad in self._gradients()])
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _multiply(self, factor: float) -> None:
        if factor != 1.0:
            for grad in self._gradients():
                grad.mul_(factor)

    def _gradients(self) -> list[Tensor]:
        parameters = trained_parameters(self.learner).values()
        return [p.grad for p in parameters if p.grad is not None]
