"""What the machine could do at best: a step's bytes over the bandwidth that was measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

READ = 512 * 2**20  # bytes; far more than any cache holds
TRIES = 7
ROWS = 1024  # of a matrix product that shows what the arithmetic units can do
BYTES = {  # of one weight; a block of llama.cpp's 32 weights has a 16-bit scale
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "int8": 1.0,
    "int4": 0.5,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
}
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Reads:
    """What one decoding step reads: the number of weights, and of KV values a token of context."""

    weights: int
    kv: int

    def bytes_of_step(self, precision: str, streams: int, context: float, cache: float) -> float:
        """`cache` bytes a KV value, `context` tokens of each stream."""
        return self.weights * BYTES[precision] + self.kv * cache * streams * context

    def flops(self, tokens: int) -> float:
        """Of reading `tokens` of prompts: a multiplication and an addition a weight."""
        return 2.0 * self.weights * tokens


def reads_of(config: PretrainedConfig) -> Reads:
    """Of a Llama or GLM; the embedding is looked up, so it counts only as the output layer."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    heads, groups, size = (
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
    )
    attention = hidden * size * (2 * heads + 2 * groups)
    layer = attention + 3 * hidden * config.intermediate_size
    return Reads(layers * layer + config.vocab_size * hidden, 2 * layers * groups * size)


def read_bandwidth(threads: int) -> float:
    """Bytes a second that so many threads read from memory, the best of some tries (a STREAM-like
    sum)."""
    torch.set_num_threads(threads)
    memory = torch.ones(READ // 4)
    return READ / _best(lambda: memory.sum())


def arithmetic(threads: int, dtype: str, inner: int) -> float:
    """FLOP a second of a matrix product in this number format, the best of some tries."""
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    rows, square = torch.ones(ROWS, inner, dtype=kind), torch.ones(inner, inner, dtype=kind)
    return 2.0 * ROWS * inner * inner / _best(lambda: rows @ square)


def _best(work: Callable[[], object]) -> float:
    """Seconds."""
    work()
    times = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)
