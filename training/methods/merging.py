"""Puts a LoRA into the weights of its base, and writes the sum as a model of its own."""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from ...adapters.errors import StartError
from ...adapters.models.exporting import export_model
from ...adapters.models.progress import Report
from ...adapters.models.tuned.adapter import Pair, Prefix
from ...adapters.models.tuned.reading import tuning_at


def merge(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    layout: str = "native",
    dtype: str | None = None,
    chatglm_generation: int | None = None,
    trust_remote_code: bool = False,
    report: Report = lambda fraction, detail: None,
) -> None:
    """Write the model at `base` with the LoRA at `adapter` to the new directory `out`.

    `layout` is native, or original for a ChatGLM. The sums are made in float32 and rounded once, to
    `dtype` or the base's own format. Raises StartError for what cannot be merged.
    """
    export_model(
        base,
        out,
        original=layout == "original",
        dtype=dtype,
        chatglm_generation=chatglm_generation,
        trust_remote_code=trust_remote_code,
        change=partial(_add, adapter),
        report=report,
    )


def _add(adapter: Path, model: PreTrainedModel, dtype: torch.dtype) -> None:
    tuning = tuning_at(adapter, model)
    if isinstance(tuning, Prefix):
        raise StartError(
            f"{adapter} is a prefix, which no weights can take up; serve it beside its base, with "
            f"--adapters NAME={adapter}"
        )
    for name, pair in tuning.pairs.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        layer.weight = nn.Parameter(_sum(layer.weight.detach(), pair).to(dtype), False)


def _sum(weight: torch.Tensor, pair: Pair) -> torch.Tensor:
    """float32 [out, in]"""
    return torch.addmm(weight.to(torch.float32), pair.up, pair.down)
