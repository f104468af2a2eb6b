"""Chooses tokens our way and transformers' way; prints milliseconds a step of both.

    python benchmarks/sampling.py [--rows 1 16] [--vocabularies 65024 151936] [--steps 30]

A step begins with logits on the device and ends with token ids on the host. Logits fall with the
logarithm of their rank, `--slope` times, and lie in random order: 1.5 is about as steep as a
language model's, 1 has a nucleus of thousands of tokens. The two ways take turns, step by step, and
the median counts. transformers' way is its processors, in its order, on the whole batch, then
softmax and multinomial; it knows neither presence nor frequency penalty and no seed per row.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from danlu.worker.job import Sampling
from danlu.worker.sampler import Sampler

MILLI = 1e3
PROMPT = 500  # tokens
WARM = 0.8  # temperature

CASES = {
    "greedy": Sampling(temperature=0.0),
    "temperature": Sampling(temperature=WARM),
    "top_p 0.8": Sampling(temperature=WARM, top_p=0.8),
    "top_k 50": Sampling(temperature=WARM, top_k=50),
    "top_k 20, top_p 0.8": Sampling(temperature=WARM, top_k=20, top_p=0.8),
    "greedy, repetition 1.1": Sampling(temperature=0.0, repetition_penalty=1.1),
    "all three penalties": Sampling(
        temperature=WARM, repetition_penalty=1.1, presence_penalty=0.2, frequency_penalty=0.2
    ),
}


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    device = torch.device(args.device)
    print(f"{'rows':>4} {'vocabulary':>10}  {'':24}{'ours ms':>9}{'theirs ms':>11}{'times':>7}")
    for vocabulary in args.vocabularies:
        for rows in args.rows:
            logits = _logits(rows, vocabulary, args.slope).to(device, getattr(torch, args.dtype))
            for name, how in CASES.items():
                ours, theirs = _in_turns(_ours(how, logits), _theirs(how, logits), args.steps)
                print(
                    f"{rows:4} {vocabulary:10}  {name:24}{ours * MILLI:9.2f}"
                    f"{theirs * MILLI:11.2f}{theirs / ours:7.1f}",
                    flush=True,
                )


def _logits(rows: int, vocabulary: int, slope: float) -> Tensor:
    torch.manual_seed(0)
    falling = -slope * torch.arange(1, vocabulary + 1).log()
    return torch.stack([falling[torch.randperm(vocabulary)] for _ in range(rows)])


def _ours(how: Sampling, logits: Tensor) -> Callable[[], object]:
    rows, vocabulary = logits.shape
    sampler = Sampler(rows, vocabulary, logits.device)
    slots = range(rows)
    for slot in slots:
        sampler.join(slot, how, range(PROMPT))
    return lambda: sampler.choose(logits, slots).read()


def _theirs(how: Sampling, logits: Tensor) -> Callable[[], object]:
    processors = LogitsProcessorList()
    if how.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(how.repetition_penalty))
    if not how.greedy:
        processors.append(TemperatureLogitsWarper(how.temperature))
    if how.top_k:
        processors.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        processors.append(TopPLogitsWarper(how.top_p))
    ids: Any = torch.arange(PROMPT, device=logits.device).expand(len(logits), -1)

    def step() -> object:
        scores = processors(ids, logits.float())
        if how.greedy:
            return scores.argmax(-1).tolist()
        return scores.softmax(-1).multinomial(1).tolist()

    return step


def _in_turns(
    ours: Callable[[], object], theirs: Callable[[], object], steps: int
) -> tuple[float, float]:
    """The median seconds of each; the first turn is not counted."""
    times: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    with torch.inference_mode():
        for _ in range(steps + 1):
            for way, found in times.items():
                started = time.perf_counter()
                way()
                found.append(time.perf_counter() - started)
    mine, other = (statistics.median(found[1:]) for found in times.values())
    return mine, other


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times the choice of the next tokens.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16], help="sequences a step")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[65024, 151936])
    parser.add_argument("--steps", type=int, default=30, help="counted steps of each way")
    parser.add_argument("--slope", type=float, default=1.5, help="how fast logits fall with rank")
    parser.add_argument("--dtype", default="float32", help="of the logits")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
