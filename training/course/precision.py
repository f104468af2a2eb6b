"""In which numbers is computed, and what `--fp16` and `--bf16` mean on a device that lacks them."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """Weights and optimiser stay float32; `compute` is what layers compute in.

    `scaled` says that the loss is multiplied before the backward pass, lest small gradients vanish
    in float16.
    """

    compute: torch.dtype = torch.float32
    scaled: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """For a model whose weights no sharding casts."""
        half = self.compute != torch.float32
        return torch.autocast(device.type, dtype=self.compute if half else None, enabled=half)


def precision_for(*, fp16: bool, bf16: bool, kind: str, bfloat16: bool) -> tuple[Precision, str]:
    """The nearest that the device can, and a sentence where that is not what was asked for.

    `kind` is cpu, cuda or npu; `bfloat16` whether the device computes with that.
    """
    if fp16 and kind == "cpu":
        return Precision(), "fp16 training is not possible on cpu; computing in float32"
    if bf16 and not bfloat16:
        said = f"this {kind} has no bfloat16; computing in float16 with a scaled loss"
        return Precision(torch.float16, scaled=True), said
    if bf16:
        return Precision(torch.bfloat16), ""
    return (Precision(torch.float16, scaled=True) if fp16 else Precision()), ""
