"""Learning rates, beside transformers' own."""

import pytest
import torch
from hypothesis import given, strategies as st
from transformers import get_scheduler

from danlu.training.course.rate import rate_factor, rate_of, warmup_of
from danlu.training.settings import TrainingSettings

SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_rates_are_those_of_transformers(schedule: str, warmup: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs = get_scheduler(schedule, optimiser, warmup, 30)
    for step in range(30):
        ours = rate_factor(schedule, step, steps=30, warmup=warmup)
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        theirs.step()


@given(st.sampled_from(SCHEDULES), st.integers(1, 500), st.integers(0, 600), st.data())
def test_a_rate_never_leaves_0_to_1(
    schedule: str, steps: int, warmup: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, steps - 1))
    assert 0 <= rate_factor(schedule, step, steps=steps, warmup=warmup) <= 1


def test_a_warm_up_is_told_in_steps_or_as_a_part() -> None:
    assert warmup_of(100, warmup_steps=0, warmup_ratio=0.03) == 3
    assert warmup_of(101, warmup_steps=0, warmup_ratio=0.03) == 4
    assert warmup_of(100, warmup_steps=10, warmup_ratio=0.5) == 10
    assert warmup_of(100, warmup_steps=0.2, warmup_ratio=0.5) == 20


def test_a_step_has_the_rate_of_its_settings() -> None:
    settings = TrainingSettings(learning_rate=0.1, warmup_ratio=0.5, lr_scheduler_type="linear")
    rates = [rate_of(settings, step, 4) for step in range(4)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05])
