"""AdamW over what is trained, with weights that decay and others that do not."""

from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from ..learner import Learner, trained_parameters
from ..settings import TrainingSettings

FUSED = ("cpu", "cuda")  # kinds of device for which torch has the update in one kernel


def optimiser_for(learner: Learner, settings: TrainingSettings) -> Optimizer:
    """As transformers' Trainer: matrices and embeddings decay, biases and norms do not."""
    trained = list(trained_parameters(learner).values())
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True if _fused(trained) else None,
    )


def _fused(trained: list[Parameter]) -> bool:
    return all(p.device.type in FUSED and p.is_floating_point() for p in trained)
