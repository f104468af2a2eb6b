"""Deals a model's weights out to the processes: torch's fully_shard, layer by layer."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor

from ...adapters.errors import StartError
from ..learner import Learner
from .plan import Plan

log = logging.getLogger(__name__)

# The original's name for a layer, and what it is here.
ORIGINALS = {"GLMBlock": "GlmDecoderLayer"}


@dataclass(frozen=True, slots=True)
class Part:
    """What this process holds of a weight."""

    name: str
    whole: tuple[int, ...]
    here: tuple[int, ...]


def layers_of(learner: Learner, named: str = "") -> list[nn.Module]:
    """The model's layers, of the class `named` or of those that the model itself names.

    Raises StartError if `named` is no class in it.
    """
    wanted = {ORIGINALS.get(name.strip(), name.strip()): name.strip() for name in named.split(",")}
    wanted.pop("", None)
    of_model = set(wanted) or set(getattr(learner.model, "_no_split_modules", None) or ())
    found = [module for module in learner.modules() if type(module).__name__ in of_model]
    for missing in wanted.keys() - {type(module).__name__ for module in found}:
        lists = [module for module in learner.modules() if isinstance(module, nn.ModuleList)]
        there = sorted({type(layer).__name__ for layers in lists for layer in layers})
        raise StartError(
            f"--fsdp_transformer_layer_cls_to_wrap {wanted[missing]} is in no "
            f"{type(learner.model).__name__}; its layers are {' and '.join(there)}"
        )
    return found


def shard(
    learner: Learner, mesh: DeviceMesh, plan: Plan, compute: torch.dtype, layer_class: str = ""
) -> None:
    """Let each process of `mesh` hold its part of `learner`, which may be on the meta device.

    What is gathered is in `compute`; gradients are added up in float32 over all processes, not
    averaged. Raises StartError for a `layer_class` that is not in it.
    """
    shared = partial(
        fully_shard,
        mesh=mesh if plan.sharded else _replicas(mesh),
        mp_policy=MixedPrecisionPolicy(
            param_dtype=None if compute == torch.float32 else compute, reduce_dtype=torch.float32
        ),
        offload_policy=CPUOffloadPolicy() if plan.offloaded else OffloadPolicy(),
    )
    for layer in layers_of(learner, layer_class):
        shared(layer, reshard_after_forward=plan.regather)
    shared(learner)
    for module in learner.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)  # no backend but NCCL can average
            module.set_gradient_divide_factor(1.0)


def _replicas(mesh: DeviceMesh) -> DeviceMesh:
    """All processes hold all: as many replicas, each sharded over one process."""
    return init_device_mesh(
        mesh.device_type, (mesh.size(), 1), mesh_dim_names=("replicas", "shards")
    )


def shards(learner: nn.Module) -> list[Part]:
    """What this process holds of each weight."""
    return [
        Part(name, tuple(p.shape), tuple(local(p).shape)) for name, p in learner.named_parameters()
    ]


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of it that lies here."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def said(parts: Iterable[Part], count: int) -> str:
    """The line of the log about them, with the largest as the example."""
    parts = list(parts)
    split = [part for part in parts if part.here != part.whole]
    if not split:
        return f"all {len(parts)} tensors lie whole in each of {count} processes"
    example = max(split, key=lambda part: torch.Size(part.whole).numel())
    return (
        f"sharded {len(split)} tensors over {count} processes: {example.name} "
        f"{_by(example.whole)}, here {_by(example.here)}"
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
