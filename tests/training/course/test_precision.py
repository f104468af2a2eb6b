"""In which numbers is computed."""

import pytest
import torch

from danlu.training.course.precision import Precision, precision_for

HALF, BRAIN = Precision(torch.float16, scaled=True), Precision(torch.bfloat16)


@pytest.mark.parametrize(
    ("kind", "bfloat16", "asked", "got", "said"),
    [
        ("npu", True, "fp16", HALF, ""),
        ("cuda", True, "bf16", BRAIN, ""),
        ("cpu", True, "bf16", BRAIN, ""),
        ("npu", True, "", Precision(), ""),
        ("npu", False, "bf16", HALF, "this npu has no bfloat16; computing in float16"),
        ("cuda", False, "bf16", HALF, "this cuda has no bfloat16; computing in float16"),
        ("cpu", True, "fp16", Precision(), "fp16 training is not possible on cpu; computing in fl"),
    ],
)
def test_what_a_device_lacks_is_said_and_the_nearest_taken(
    kind: str, bfloat16: bool, asked: str, got: Precision, said: str
) -> None:
    found, sentence = precision_for(
        fp16=asked == "fp16", bf16=asked == "bf16", kind=kind, bfloat16=bfloat16
    )
    assert found == got
    assert sentence.startswith(said)
    assert bool(sentence) == bool(said)


def test_products_are_computed_in_the_half_and_weights_stay_as_they_are() -> None:
    layer, device = torch.nn.Linear(2, 2), torch.device("cpu")
    with BRAIN.autocast(device):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    with Precision().autocast(device):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
