"""Loads a synthetic ChatGLM2 checkpoint our way and the plain way; prints time and memory of both.

    python benchmarks/chatglm_loading.py [--gigabytes 1.5] [--rounds 5] [--dtype float16]

The checkpoint has the sizes of ChatGLM2-6B but for its number of layers, random weights, and lies
in a temporary directory. Every load is a process of its own; the two ways take turns, and the
first turn, which also brings the files into the page cache, is not counted. The plain way is what
one writes without thinking: torch.load of every shard, then load_state_dict. It fills a model of
the original's names, because only then there is nothing to rename. The weights of both are read
once at the end, so that nothing is left to be fetched later.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from danlu.adapters.models.chatglm.config import Description, described
from danlu.adapters.models.chatglm.loading import load_chatglm
from danlu.adapters.models.chatglm.names import ROTARY, parts
from danlu.adapters.models.chatglm.native import original_config
from danlu.adapters.models.checkpoint import weight_files

GB = 1e9
SHARDS = 7  # as ChatGLM2-6B has
CHATGLM2_6B = Description(
    generation=2,
    vocabulary=65024,
    layers=28,
    hidden=4096,
    inner=13696,
    heads=32,
    groups=2,
    head_size=128,
    per_head=False,
    qkv_bias=True,
    epsilon=1e-5,
    positions=32768,
)


def ours(path: Path, dtype: torch.dtype) -> torch.nn.Module:
    config = json.loads((path / "config.json").read_text())
    return load_chatglm(path, config, "cpu", dtype)


def plain(path: Path, dtype: torch.dtype) -> torch.nn.Module:
    of = described(json.loads((path / "config.json").read_text()))
    model = _Bag({name: part.shape for name, part in parts(of).items()}, dtype)
    state: dict[str, torch.Tensor] = {}
    for file in weight_files(path):
        state.update(torch.load(file, map_location="cpu", weights_only=True))
    state.pop(ROTARY, None)
    model.load_state_dict({name.replace(".", "/"): tensor for name, tensor in state.items()})
    return model


class _Bag(torch.nn.Module):
    """Parameters under the original's names; initialising them costs the plain way nothing."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> None:
        super().__init__()
        for name, shape in shapes.items():
            memory = torch.nn.Parameter(torch.empty(shape, dtype=dtype))
            self.register_parameter(name.replace(".", "/"), memory)


WAYS = {"ours": ours, "plain": plain}


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    if args.load:
        print(json.dumps(_measured(WAYS[args.way], Path(args.load), getattr(torch, args.dtype))))
        return
    with tempfile.TemporaryDirectory(prefix="chatglm-loading-") as place:
        size = write_checkpoint(Path(place), args.gigabytes)
        found = _in_turns(place, args.rounds, args.dtype)
    _print_table(found, size, args)


def write_checkpoint(path: Path, gigabytes: float) -> int:
    """Random float16 weights of at least so many bytes; returns how many."""
    of = CHATGLM2_6B
    for layers in range(1, CHATGLM2_6B.layers + 1):
        of = replace(CHATGLM2_6B, layers=layers)
        if _bytes(of) >= gigabytes * GB:
            break
    names = list(parts(of).items())
    each = -(-len(names) // SHARDS)
    where: dict[str, str] = {}
    for number in range(SHARDS):
        file = f"pytorch_model-{number + 1:05}-of-{SHARDS:05}.bin"
        some = names[number * each : (number + 1) * each]
        tensors = {name: torch.randn(part.shape).mul_(0.02).half() for name, part in some}
        torch.save(tensors, path / file)
        where.update(dict.fromkeys(tensors, file))
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    (path / "config.json").write_text(json.dumps(original_config(of)))
    return _bytes(of)


def _bytes(of: Description) -> int:
    return sum(2 * torch.Size(part.shape).numel() for part in parts(of).values())


def _measured(
    load: Callable[[Path, torch.dtype], torch.nn.Module], path: Path, dtype: torch.dtype
) -> dict[str, float]:
    """Seconds, and bytes at the highest above what the interpreter itself takes."""
    before = _highest()
    started = time.perf_counter()
    model = load(path, dtype)
    for weights in model.parameters():
        weights.detach().view(-1)[:: 4096 // weights.element_size()].sum()  # one of each page
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": _highest() - before}


def _highest() -> int:
    """Bytes resident at the highest. `getrusage` would count what the parent held at the fork."""
    status = Path("/proc/self/status").read_text()
    return next(
        int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
    )


def _in_turns(place: str, rounds: int, dtype: str) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in WAYS:
            argv = [sys.executable, __file__, "--load", place, "--way", way, "--dtype", dtype]
            done = subprocess.run(argv, check=True, capture_output=True, text=True)
            if turn:
                found[way].append(json.loads(done.stdout))
    return found


def _print_table(
    found: dict[str, list[dict[str, float]]], size: int, args: argparse.Namespace
) -> None:
    print(f"{size / GB:.2f} GB float16 in {SHARDS} shards, loaded as {args.dtype}, ", end="")
    print(f"median of {args.rounds} (lowest – highest)\n")
    print("| way | seconds | peak memory, GB | of the checkpoint's size |\n|---|---|---|---|")
    middle: dict[str, tuple[float, float]] = {}
    for way, runs in found.items():
        seconds = sorted(run["seconds"] for run in runs)
        peak = statistics.median(run["peak"] for run in runs)
        middle[way] = statistics.median(seconds), peak
        spread = f"{middle[way][0]:.2f} ({seconds[0]:.2f} – {seconds[-1]:.2f})"
        print(f"| {way} | {spread} | {peak / GB:.2f} | {peak / size:.2f} |")
    time_ratio, peak_ratio = (a / b for a, b in zip(middle["ours"], middle["plain"], strict=True))
    print(f"| ours / plain | {time_ratio:.2f} | {peak_ratio:.2f} | |")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float16", choices=("float16", "bfloat16", "float32"))
    parser.add_argument("--load", default="", help=argparse.SUPPRESS)
    parser.add_argument("--way", default="", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
