"""Each method that the settings can name is there, and is set as they say."""

from dataclasses import replace

import pytest

from danlu.training.methods.choice import METHODS, method_for
from danlu.training.methods.lora import Lora
from danlu.training.settings import TrainingSettings


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_found_by_its_name(name: str) -> None:
    assert method_for(replace(TrainingSettings(), method=name)).name == name


def test_a_lora_is_set_as_the_settings_say() -> None:
    settings = replace(
        TrainingSettings(),
        method="lora",
        lora_r=3,
        lora_alpha=5.0,
        lora_dropout=0.25,
        lora_target_modules=("dense",),
    )
    assert method_for(settings) == Lora(3, 5.0, 0.25, ("dense",))


def test_only_a_method_that_keeps_the_base_may_hold_it_in_halves() -> None:
    kept = {
        name: method_for(replace(TrainingSettings(), method=name)).keeps_base for name in METHODS
    }
    assert kept == {name: name != "full" for name in METHODS}
