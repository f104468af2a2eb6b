"""What each of two processes does for test_collectives.py, on the card of its rank.

It writes what it saw as JSON. Last of all, rank 1 dies, and rank 0 writes what it is told of that.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import GlmConfig, GlmForCausalLM

from danlu.adapters.devices.device import device_named
from danlu.training.parallel.launch import bind

RANK = int(os.environ["RANK"])
CARD = f"npu:{RANK}"
SHAPE: dict[str, Any] = {
    **{"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2},
}
FORMATS = (torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64)


def main(folder: Path) -> None:
    bind(device_named(CARD))
    dist.init_process_group("cpu:gloo,npu:hccl")
    seen = {"collectives": collectives(), "objects": objects(), "hccl alone": alone()}
    whole = MixedPrecisionPolicy()
    seen |= {kind: trained(kind, folder, whole) for kind in ("npu", "cpu")}
    for dtype in (torch.bfloat16, torch.float16):
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        seen[str(dtype)] = trained("npu", folder, policy)
    seen |= {"other calls": another_call(), "silence": silence()}
    write(folder, seen)
    dist.barrier()
    if RANK:
        os._exit(0)
    seen["death"] = told(lambda: dist.all_reduce(mine()))
    write(folder, seen)
    os._exit(0)  # the group's own end would wait for the dead


def write(folder: Path, seen: dict[str, Any]) -> None:
    (folder / f"{RANK}.json").write_text(json.dumps(seen))


def mine(count: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """0 1 2 … at rank 0; 10 11 12 … at rank 1."""
    return (torch.arange(count) + 10 * RANK).to(dtype).to(CARD)


def collectives() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for dtype in FORMATS:
        for operation in ("SUM", "MAX", "MIN"):
            dist.all_reduce(x := mine(dtype=dtype), op=getattr(dist.ReduceOp, operation))
            seen[f"{operation} {dtype}"] = x.cpu().tolist()
    dist.all_reduce(x := mine(), op=dist.ReduceOp.AVG)
    dist.broadcast(sent := mine(), src=1)
    dist.all_gather_single(gathered := torch.empty(6, device=CARD), mine())
    dist.all_gather(listed := [torch.empty(3, device=CARD) for _ in range(2)], mine())
    dist.reduce_scatter_single(part := torch.empty(3, device=CARD), mine(6))
    dist.all_reduce(flags := mine(dtype=torch.bool))
    found = {"AVG": x, "broadcast": sent, "all_gather": gathered, "reduce_scatter": part}
    found |= {"all_gather listed": torch.cat(listed), "SUM torch.bool": flags}
    return seen | {name: tensor.cpu().tolist() for name, tensor in found.items()}


def objects(group: dist.ProcessGroup | None = None) -> list[Any]:
    gathered: list[Any] = [None, None]
    dist.all_gather_object(gathered, {"rank": RANK}, group=group)
    sent = [f"of {RANK}"]
    dist.broadcast_object_list(sent, src=0, group=group)
    return [*gathered, *sent]


def alone() -> list[Any]:
    """Objects as bytes on the cards, where the group has no other way."""
    return objects(dist.new_group(backend="hccl"))


def model_on(kind: str, policy: MixedPrecisionPolicy) -> Any:
    """The same one wherever it is made; each layer sharded, its activations made twice."""
    torch.default_generator.manual_seed(1)
    model: Any = GlmForCausalLM(GlmConfig(**SHAPE))
    model.to(CARD if kind == "npu" else kind)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    mesh = init_device_mesh(kind, (2,))
    for part in (*model.model.layers, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)
    return model.train()


def trained(kind: str, folder: Path, policy: MixedPrecisionPolicy) -> dict[str, Any]:
    model = model_on(kind, policy)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    dice = torch.Generator().manual_seed(RANK)
    ids = torch.randint(3, 64, (2, 12), generator=dice).to(next(model.parameters()).device)
    losses, norms = [], []
    for _ in range(3):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        norm: Any = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        norms.append(norm.full_tensor().item())
    weight = model.model.layers[0].mlp.down_proj.weight
    assert isinstance(weight, DTensor)
    return {
        "losses": losses,
        "norms": norms,
        "device": str(weight.to_local().device),
        "sizes": [list(weight.shape), list(weight.to_local().shape)],
        "whole": weight.full_tensor().detach().cpu().flatten()[::97].tolist(),
        "came back": came_back(model, optimiser, folder / kind),
    }


def came_back(model: Any, optimiser: torch.optim.Optimizer, folder: Path) -> bool:
    """Whether a checkpoint of the shards, loaded into emptied ones, is what was saved."""
    parts: Any
    parts, moments = get_state_dict(model, optimiser)
    save({"model": parts, "optimiser": moments}, checkpoint_id=folder)
    before = [p.to_local().clone() for p in parts.values()]
    with torch.no_grad():
        for part in parts.values():
            part.to_local().zero_()
    load({"model": parts, "optimiser": moments}, checkpoint_id=folder)
    return all(torch.equal(x, p.to_local()) for x, p in zip(before, parts.values(), strict=True))


def another_call() -> list[str]:
    """Each asks its peer for something else; and then for the same, of a group that is broken."""
    group = dist.new_group()
    asked: Callable[[], Any] = (
        (lambda: dist.broadcast(mine(), src=0, group=group))
        if RANK
        else (lambda: dist.all_reduce(mine(), group=group))
    )
    return [told(asked), told(lambda: dist.all_reduce(mine(), group=group))]


def silence() -> str:
    """Rank 0 comes; rank 1 does something else until rank 0 has been told."""
    os.environ["HCCL_EXEC_TIMEOUT"] = "1"
    dist.all_reduce(mine(), group=(group := dist.new_group()))
    del os.environ["HCCL_EXEC_TIMEOUT"]
    found = "" if RANK else told(lambda: dist.all_reduce(mine(), group=group))
    objects()
    return found


def told(call: Callable[[], Any]) -> str:
    try:
        call()
        torch.npu.synchronize()  # type: ignore[attr-defined]
    except RuntimeError as exc:
        return str(exc)
    return "nothing"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
