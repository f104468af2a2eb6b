"""Whether packed rows train what separate ones do."""

from typing import Any

import pytest
import torch
from support.courses import a_course, a_student, sentences
from support.families import a_model
from torch import Tensor, nn

from danlu.adapters.errors import StartError
from danlu.training.course.independence import look_at_packing
from danlu.training.course.loop import train
from danlu.training.course.precision import Precision
from danlu.training.progress import Progress
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

SETTINGS = TrainingSettings(packing=True, model_max_length=40)
SAMPLES = sentences(3)


class Smeared(nn.Module):
    """Attention behind which each token gets some of the one before it, as by a convolution."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        found, rest = self.attention(*args, **kwargs)
        return found + 0.1 * found.roll(1, dims=1), rest


@pytest.mark.parametrize("family", ["llama", "glm", "gemma2", "mistral", "mixtral"])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_attention_that_keeps_to_its_mask_may_be_packed(family: str, compute: torch.dtype) -> None:
    student = a_student(SETTINGS, a_model(family), precision=Precision(compute))
    look_at_packing(student, Listed(SAMPLES))


def test_a_model_whose_tokens_look_past_the_mask_is_refused_before_it_learns() -> None:
    model: Any = a_model("llama")
    for layer in model.model.layers:
        layer.self_attn = Smeared(layer.self_attn)
    with pytest.raises(StartError, match="--packing is not possible.*sees the one before it"):
        train(a_course(SETTINGS, SAMPLES, student=a_student(SETTINGS, model)), Progress())


def test_a_model_that_takes_no_such_rows_is_refused_in_its_own_words() -> None:
    model: Any = a_model("llama")

    def refuse(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["attention_mask"] is not None:
            raise ValueError("too many values to unpack")

    model.model.register_forward_pre_hook(refuse, with_kwargs=True)
    with pytest.raises(StartError, match="--packing is not possible.*too many values to unpack"):
        look_at_packing(a_student(SETTINGS, model), Listed(SAMPLES))
