"""Brings the model that a training starts from into memory: one reads it, all have their part.

The first process reads the files into its host's memory; the others build the same learner without
memory. Then each weight goes round, is cut up, and is let go, so that of all hosts only the first
holds a whole model, and a device holds one whole weight beside its parts.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ...adapters.errors import StartError
from ...adapters.models.facts import learned_positions
from ...adapters.models.loading import LoadedModel, load_model
from ..learner import Learner
from ..peers import alike
from ..settings import TrainingSettings
from .launch import HOST, Ranks
from .plan import Plan, plan_of
from .sharding import said, shard, shards

log = logging.getLogger(__name__)


class Method(Protocol):
    """What is asked of a way to train. `keeps_base`: the model's own weights stay as they are."""

    @property
    def keeps_base(self) -> bool: ...

    def learner(self, model: PreTrainedModel) -> Learner: ...

    def initialise(self, learner: Learner, seed: int) -> None: ...


class Precision(Protocol):
    @property
    def compute(self) -> torch.dtype: ...


@dataclass(frozen=True, slots=True)
class Begun:
    """What is trained, on its device, and the tokenizer of the model that it was made of."""

    learner: Learner
    tokenizer: PreTrainedTokenizerBase


def begin(settings: TrainingSettings, ranks: Ranks, method: Method, precision: Precision) -> Begun:
    """The learner of `method`, dealt out as `--fsdp` says; called by every process.

    What is trained is in float32; weights that stay as they are, are in what is computed in.
    Raises StartError, in all processes, for a model that cannot be loaded or trained so.
    """
    with alike(ranks.first):
        plan = plan_of(settings.fsdp)
    if ranks.mesh is None and plan.sharded:
        log.info("--fsdp %s: one process holds all, there is nobody to share with", settings.fsdp)
    if plan.offloaded and ranks.device.type == HOST:
        log.info("--fsdp %s: weights of the host lie in its memory already", settings.fsdp)
        plan = replace(plan, offloaded=False)
    dtype = precision.compute if method.keeps_base else torch.float32
    read: list[LoadedModel] = []
    own_code = ranks.by_first(lambda: _read(settings, dtype, read))
    if own_code and not read:
        _import_code(settings.model_name_or_path)
    told = ranks.told(_told(read[0]) if read else None)
    assert told is not None
    model = read[0].model if read else _without_memory(told, dtype)
    with alike(ranks.first):  # all have been told of one model
        learner = method.learner(model)
    if ranks.first:
        method.initialise(learner, settings.seed)
    if ranks.mesh is None:
        learner.to(ranks.device)
    else:
        source = learner if ranks.first else None
        if ranks.first:
            learner = method.learner(_without_memory(told, dtype))
        with alike(ranks.first):
            shard(
                learner,
                ranks.mesh,
                plan,
                precision.compute,
                settings.fsdp_transformer_layer_cls_to_wrap,
            )
        fill(learner, source, ranks, plan)
        if ranks.first:
            log.info("%s", said(shards(learner), ranks.count))
    return Begun(learner, told.tokenizer)


@dataclass(frozen=True, slots=True)
class Told:
    """What the others must know to build the model that the first one read.

    `formats` are its tensors' number formats by name: not all have the one that was asked for.
    """

    kind: type[PreTrainedModel]
    config: Any
    generation: Any
    tokenizer: PreTrainedTokenizerBase
    formats: dict[str, torch.dtype]


def _read(settings: TrainingSettings, dtype: torch.dtype, into: list[LoadedModel]) -> bool:
    """Whether the model's code came with it."""
    loaded = load_model(
        Path(settings.model_name_or_path),
        HOST,
        dtype=str(dtype).removeprefix("torch."),
        trust_remote_code=settings.trust_remote_code,
        chatglm_generation=settings.chatglm_generation,
        packed=False,
    )
    _check_positions(loaded.model, settings.model_max_length)
    into.append(loaded)
    return not type(loaded.model).__module__.startswith("transformers.")


def _check_positions(model: PreTrainedModel, longest: int) -> None:
    """Rotary embeddings are computed for any position, however badly; a table ends."""
    most = learned_positions(model)
    if most is not None and longest > most:
        raise StartError(
            f"--model_max_length {longest} is more than the {most} positions that this model has "
            "learned; give at most as many"
        )


def _import_code(path: str) -> None:
    """Else nothing that the first process tells of its classes could be understood."""
    shared: dict[str, Any] = {"local_files_only": True, "trust_remote_code": True}
    AutoTokenizer.from_pretrained(path, **shared)
    config = AutoConfig.from_pretrained(path, **shared)
    factory: Any = AutoModelForCausalLM  # not annotated
    with torch.device("meta"):
        factory.from_config(config, trust_remote_code=True)


def _told(loaded: LoadedModel) -> Told:
    model: Any = loaded.model
    formats = {name: tensor.dtype for name, tensor in _tensors(model)}
    return Told(type(model), model.config, model.generation_config, loaded.tokenizer, formats)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())


def _without_memory(told: Told, dtype: torch.dtype) -> PreTrainedModel:
    """Tables of rotary angles, for one, stay in float32: rounded, they turn far tokens wrongly.
    What the read model does not have, since it is packed, is in `dtype`."""
    kind: Any = told.kind
    with torch.device("meta"):
        model = kind(told.config)
    for name, tensor in _tensors(model):
        usual = dtype if tensor.is_floating_point() else tensor.dtype
        tensor.data = tensor.data.to(told.formats.get(name, usual))
    model.train(False)
    model.requires_grad_(False)
    model.generation_config = told.generation
    return model  # type: ignore[no-any-return]


def fill(learner: Learner, source: Learner | None, ranks: Ranks, plan: Plan) -> None:
    """Give the learner, which has no memory yet, the values of the first process' `source`.

    A weight of `source` is let go as soon as all have it.
    """
    theirs = dict(source.named_parameters()) if source is not None else {}
    learner.to_empty(device=HOST if plan.offloaded else ranks.device)
    for name, parameter in learner.named_parameters():
        whole = _everywhere(theirs.get(name), parameter, ranks)
        with torch.no_grad():
            parameter.copy_(_cut(whole, parameter))
        if name in theirs:
            theirs[name].data = torch.empty(0)
    tables = dict(source.named_buffers()) if source is not None else {}
    for name, buffer in learner.named_buffers():
        owner, _, leaf = name.rpartition(".")
        setattr(learner.get_submodule(owner), leaf, _everywhere(tables.get(name), buffer, ranks))


def _everywhere(value: Tensor | None, like: Tensor, ranks: Ranks) -> Tensor:
    """The first process' `value`, whole, on each one's device."""
    whole = torch.empty(like.shape, dtype=like.dtype, device=ranks.device)
    if value is not None:
        assert value.shape == like.shape, f"{tuple(value.shape)} is not {tuple(like.shape)}"
        whole.copy_(value.detach())
    if ranks.mesh is not None:
        dist.broadcast(whole, src=0)
    return whole


def _cut(whole: Tensor, like: nn.Parameter) -> Tensor:
    """What of it lies where `like` does; nothing is sent."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
