"""What a training goes on from, on disk: its weights and its optimiser's numbers, each in parts.

Every process writes what it holds and reads what it needs, however many there were before
(torch.distributed.checkpoint).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from ...adapters.errors import StartError
from ..learner import Learner, trained_parameters
from .launch import Ranks

WEIGHT, SLOT = "weight", "optimiser"


def save_state(where: Path, learner: Learner, optimiser: Optimizer, ranks: Ranks) -> None:
    """Write to the new directory `where`; raises StartError in every process if that fails."""
    with _in_one_sentence(f"{where} cannot be written"):
        save(
            _state(learner, optimiser),
            storage_writer=FileSystemWriter(where),
            no_dist=ranks.mesh is None,
        )


def load_state(where: Path, learner: Learner, optimiser: Optimizer, ranks: Ranks) -> None:
    """Read what `save_state` wrote, to the bit.

    Raises StartError in every process if it does not fit the learner, or cannot be read.
    """
    reader = FileSystemReader(where)
    with _in_one_sentence(f"{where} cannot be read"):
        stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
        weights = trained_parameters(learner)
        _check(where, stored, weights)
        state: dict[str, Any] = {f"{WEIGHT}.{name}": p.detach() for name, p in weights.items()}
        slots = {name: _slots(name, weight, stored) for name, weight in weights.items()}
        for name, own in slots.items():
            state |= {_key(name, slot): tensor for slot, tensor in own.items()}
        load(state, storage_reader=reader, no_dist=ranks.mesh is None)
    names = {id(weight): name for name, weight in weights.items()}
    order = [p for group in optimiser.param_groups for p in group["params"]]
    held = {i: slots[names[id(p)]] for i, p in enumerate(order)}
    groups = optimiser.state_dict()["param_groups"]
    kept = {i: own for i, own in held.items() if own}
    optimiser.load_state_dict({"state": kept, "param_groups": groups})


def _state(learner: Learner, optimiser: Optimizer) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, weight in trained_parameters(learner).items():
        state[f"{WEIGHT}.{name}"] = weight.detach()
        for slot, tensor in optimiser.state.get(weight, {}).items():
            assert isinstance(tensor, Tensor), f"{slot} of {name} is no tensor"
            state[_key(name, slot)] = tensor
    return state


def _key(name: str, slot: str) -> str:
    return f"{SLOT}.{slot}.{name}"


def _slots(name: str, weight: Tensor, stored: dict[str, Any]) -> dict[str, Tensor]:
    """Room for the optimiser's numbers of a weight: dealt out as it is, or a number of steps."""
    room = {}
    for key, facts in stored.items():
        kind, _, rest = key.partition(".")
        slot, _, owner = rest.partition(".")
        if kind != SLOT or owner != name:
            continue
        kept: dict[str, Any] = {"dtype": facts.properties.dtype}
        if facts.size == weight.shape:
            room[slot] = torch.zeros_like(weight, requires_grad=False, **kept)
        else:
            room[slot] = torch.zeros(facts.size, **kept)
    return room


def _check(where: Path, stored: dict[str, Any], weights: dict[str, Any]) -> None:
    kept = {k.partition(".")[2]: v for k, v in stored.items() if k.startswith(f"{WEIGHT}.")}
    for name in sorted(kept.keys() ^ weights.keys()):
        whose = "the checkpoint's" if name in kept else "the model's"
        raise StartError(f"{where} does not fit what is trained: only {whose} has {name}")
    for name, weight in weights.items():
        if kept[name].size != weight.shape:
            raise StartError(
                f"{where} does not fit what is trained: its {name} is {list(kept[name].size)}, "
                f"and here it is {list(weight.shape)}"
            )


@contextmanager
def _in_one_sentence(what: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():  # where one process saves, that it is one
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            yield
    except CheckpointException as exc:
        first = next(iter(exc.failures.values()))[0]
        raise StartError(f"{what}: {_line(first)}") from exc
    except (OSError, ValueError) as exc:
        raise StartError(f"{what}: {_line(exc)}") from exc


def _line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]
