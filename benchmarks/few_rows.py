"""Products of few rows by danlu's kernels and by torch's; prints how fast each reads the weight.

    python -m benchmarks.few_rows [--threads 2] [--rows 1 4 16 64] [--weights 6848x1024 65024x1024]

A product with few rows takes as long as its weight takes to come from memory, so gigabytes of
weight a second are what counts, and the bandwidth that the same run measures is the limit. All
contenders take turns, on copies of a weight that no cache holds together; the median counts.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle

import torch
from torch import Tensor
from torch.nn.functional import linear

from danlu.adapters.kernels.library import Library, library
from danlu.adapters.kernels.linear import few_rows
from danlu.adapters.models.weight_only.kernel import Packed, kernel_for
from danlu.adapters.models.weight_only.rows import rounded

from .limits import GIGA, read_bandwidth
from .report import table

TOGETHER = 2**29  # bytes of copies of a weight
BITS = {"int8": 8, "int4": 4}
Product = Callable[[Tensor], Tensor]


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    own = library(os.environ)
    if own is None:
        sys.exit("the kernels cannot be made here")
    torch.set_num_threads(args.threads)
    names = ["float32 torch", "float32", "bfloat16 torch", "bfloat16", *BITS]
    lines = []
    for size in args.weights:
        n, k = map(int, size.split("x"))
        contenders = dict(zip(names, _contenders(own, n, k), strict=True))
        for count in args.rows:
            found = _in_turns(contenders, torch.randn(count, k), args.rounds)
            read = [f"{_bytes(name) * n * k / found[name] / GIGA:.1f}" for name in names]
            faster = [f"{found['bfloat16'] / found[name]:.2f}" for name in BITS]
            lines.append([size, str(count), *read, *faster])
    print(f"GB/s of weights, {args.threads} threads; reading alone", end=" ")
    print(f"{read_bandwidth(args.threads) / GIGA:.1f}")
    beside = [f"{name} beside bfloat16" for name in BITS]
    print("\n".join(table(["weight", "rows", *names, *beside], lines)))


def _contenders(own: Library, n: int, k: int) -> list[tuple[torch.dtype, list[Product]]]:
    weight = torch.randn(n, k)
    found: list[tuple[torch.dtype, list[Product]]] = []
    for dtype in (torch.float32, torch.bfloat16):
        copies = [weight.to(dtype, copy=True) for _ in range(_copies(n * k * dtype.itemsize))]
        found.append((dtype, [partial(linear, weight=w) for w in copies]))
        found.append((dtype, [partial(few_rows, own, weight=w) for w in copies]))
    for name, bits in BITS.items():
        kernel = kernel_for("cpu", bits, own)
        packed = kernel.pack(rounded(weight, bits, torch.bfloat16), torch.bfloat16)
        several = [_copy(packed) for _ in range(_copies(int(_bytes(name) * n * k)))]
        found.append((torch.bfloat16, [partial(kernel.multiply, packed=p) for p in several]))
    return found


def _in_turns(
    contenders: Mapping[str, tuple[torch.dtype, list[Product]]], x: Tensor, rounds: int
) -> dict[str, float]:
    """Seconds of each."""
    turns = {name: cycle(products) for name, (_, products) in contenders.items()}
    inputs = {name: x.to(dtype) for name, (dtype, _) in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, products in turns.items():
            product = next(products)
            begun = time.perf_counter()
            product(inputs[name])
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def _bytes(name: str) -> float:
    """Of a weight's number, scales and offsets included."""
    return {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / 32}[name.split()[0]]


def _copies(size: int) -> int:
    return max(2, TOGETHER // size)


def _copy(packed: Packed) -> Packed:
    offsets = None if packed.offsets is None else packed.offsets.clone()
    return Packed(packed.weight.clone(), packed.scales.clone(), offsets)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    head, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("few_rows", description=head, epilog=rest)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--weights", nargs="+", default=["576x1536", "6848x1024", "65024x1024"])
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
