"""What a training tells, made up: steps and evaluations that show only what matters."""

from danlu.training.progress import Evaluated, Measured


def a_step(step: int = 1, loss: float = 2.0, *, steps: int = 10, **more: float) -> Measured:
    facts = {
        "epoch": step / steps,
        "learning_rate": 5e-5,
        "gradient_norm": 1.5,
        "tokens": 100,
        "trained": 40,
        "seconds": 0.5,
        "memory": 2**30,
        "skipped": False,
        **more,
    }
    return Measured(step=step, steps=steps, loss=loss, **facts)  # type: ignore[arg-type]


def an_evaluation(step: int = 1, loss: float = 2.0) -> Evaluated:
    return Evaluated(step, step / 10, loss, tokens=50, seconds=0.25)
