"""In what numbers weights are held: those asked for, else those that suit device and checkpoint."""

from typing import Any

import torch

from ..kernels.library import Library
from .chatglm.config import described, is_original
from .chatglm.names import quantised_sizes
from .checkpoint import CONFIG, Checkpoint
from .weight_only.packing import Packing, Stored, packing_for

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def stated_dtype(config: dict[str, Any]) -> torch.dtype | None:
    """The number format that a config.json names, by its older or its newer word for it."""
    return DTYPES.get(str(config.get("torch_dtype") or config.get("dtype")))


def chosen_dtype(wanted: str | None, device: str, stated: torch.dtype | None) -> torch.dtype:
    """What was asked for; else float32 on the host, which has no fast halves everywhere; else the
    checkpoint's own, with float16 for one that states none or a full one."""
    if wanted is not None:
        return DTYPES[wanted]
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if stated == torch.bfloat16 else torch.float16


def chosen_packing(
    checkpoint: Checkpoint,
    device: str,
    *,
    dtype: str | None = None,
    quantization: str | None = None,
    chatglm_generation: int | None = None,
    packed: bool = True,
    library: Library | None = None,
) -> Packing | None:
    """How the weights are packed, None where they are dense; raises StartError.

    If not `packed`, a checkpoint's integers are no reason to do so.
    """
    return packing_for(
        quantization,
        device,
        wanted=None if dtype is None else DTYPES[dtype],
        stated=stated_dtype(checkpoint.config),
        stored=_stored(checkpoint, chatglm_generation) if packed else None,
        library=library,
    )


def _stored(checkpoint: Checkpoint, generation: int | None) -> Stored | None:
    """The integers of an original int4 or int8 directory of ChatGLM's."""
    config = checkpoint.config
    if not is_original(config) or not config.get("quantization_bit"):
        return None
    of = described(config, generation, str(checkpoint.path / CONFIG))
    return Stored(of.bits, tuple(quantised_sizes(of))) if of.bits else None
