"""Small models with packed weights, and what these weights amount to."""

import copy
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from danlu.adapters.kernels.library import Library
from danlu.adapters.kernels.linear import use
from danlu.adapters.models.weight_only.kernel import kernel_for
from danlu.adapters.models.weight_only.linear import packed_linear
from danlu.adapters.models.weight_only.rows import rounded

from .decoders import decoder_model

BFLOAT16 = torch.bfloat16
Bits = tuple[int | None, ...]  # of one layer after the other, again and again; None stays dense
EIGHT: Bits = (8,)
FOUR: Bits = (4,)
MIXED: Bits = (4, None, 8, 8, None)


def packed(
    kind: str, library: Library, mix: Bits, dtype: torch.dtype, **more: Any
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A packed model, and one in float32 with what its weights amount to."""
    model = decoder_model(kind, dtype, vocab_size=112, **more)
    exact: Any = copy.deepcopy(model)
    exact.float()
    names = [name for name, layer in model.named_modules() if type(layer) is nn.Linear]
    for number, name in enumerate(names):
        layer, bits = model.get_submodule(name), mix[number % len(mix)]
        if bits is None:
            continue
        assert isinstance(layer, nn.Linear)
        rows = rounded(layer.weight.detach(), bits, BFLOAT16)
        exact.get_submodule(name).weight = nn.Parameter(rows.dense(), requires_grad=False)
        kernel = kernel_for("cpu", bits, library)
        model.set_submodule(name, packed_linear(layer, rows, kernel, BFLOAT16))
    use(library, model)
    return model, exact
