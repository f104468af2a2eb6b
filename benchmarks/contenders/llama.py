"""llama.cpp through llama-cpp-python: all streams of a task in one batch, a step at a time.

A program of an environment of its own (`benchmarks/llama-env`); it imports nothing of danlu's. The
model is a GGUF file of the same weights, which `benchmarks.gguf` writes; the first argument beyond
the usual ones is its precision: f32, f16, bf16, q8_0 or q4_0.
"""

import time
from pathlib import Path

from ..contest import Outcome, Prompt, Task
from ..lines import Missing, resident, serve
from .options import Options, options

try:
    import llama_cpp
    import numpy as np
except ImportError:
    llama_cpp = None

BATCH = 2048  # tokens at most in one call
SILENCE = llama_cpp and llama_cpp.llama_log_callback(lambda level, text, data: None)


class Llama:
    """Its low-level interface: greedy choice by numpy, as the bare loop chooses by torch."""

    def __init__(self, asked: Options) -> None:
        if llama_cpp is None:
            raise Missing(
                "llama-cpp-python is not here: benchmarks/llama-env makes its environment"
            )
        llama_cpp.llama_log_set(SILENCE, None)
        file = gguf_of(asked.model, asked.more[0])
        self._model = llama_cpp.llama_model_load_from_file(
            str(file).encode(), llama_cpp.llama_model_default_params()
        )
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._context = llama_cpp.llama_init_from_model(self._model, _params(asked))
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def run(self, task: Task) -> Outcome:
        begun = time.perf_counter()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        chosen = self._read(task.prompts)
        times = [time.perf_counter() - begun]
        place = [len(prompt.ids) for prompt in task.prompts]
        for step in range(task.new_tokens - 1):
            self._batch.n_tokens = 0
            for stream, token in enumerate(chosen):
                self._add(token, place[stream] + step, stream, True)
            chosen = self._decode(range(len(chosen)))
            times.append(time.perf_counter() - begun)
        streams = len(task.prompts)
        return Outcome([times] * streams, streams * task.new_tokens, times[-1])

    def _read(self, prompts: tuple[Prompt, ...]) -> list[int]:
        """Read the prompts, as many at once as a batch holds; the first token of each."""
        chosen: list[int] = []
        ends: list[int] = []
        self._batch.n_tokens = 0
        for stream, prompt in enumerate(prompts):
            if self._batch.n_tokens + len(prompt.ids) > BATCH:
                chosen += self._decode(ends)
                self._batch.n_tokens, ends = 0, []
            for place, token in enumerate(prompt.ids):
                self._add(token, place, stream, place == len(prompt.ids) - 1)
            ends.append(self._batch.n_tokens - 1)
        return chosen + self._decode(ends)

    def _add(self, token: int, place: int, stream: int, wanted: bool) -> None:
        batch, at = self._batch, self._batch.n_tokens
        batch.token[at], batch.pos[at] = token, place
        batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = 1, stream, wanted
        batch.n_tokens = at + 1

    def _decode(self, wanted: "range | list[int]") -> list[int]:
        if status := llama_cpp.llama_decode(self._context, self._batch):
            raise RuntimeError(f"llama_decode returned {status}")
        return [self._best(at) for at in wanted]

    def _best(self, at: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, at)
        return int(np.ctypeslib.as_array(logits, shape=(self._size,)).argmax())

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        """Its memory goes with the process."""


def gguf_of(model: Path, precision: str) -> Path:
    """The file of a model's weights in this precision; raises Missing."""
    folder = model.with_name(f"{model.name}-gguf")
    full = folder / "f32.gguf"
    if not full.exists():
        raise Missing(f"no {full}: python -m benchmarks.gguf writes SmolLM2's, a GLM's nobody")
    file = folder / f"{precision}.gguf"
    if not file.exists():
        _quantise(full, file, precision)
    return file


def _quantise(full: Path, file: Path, precision: str) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = {"f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2}[precision]  # llama.cpp's numbers
    params.pure = True  # all layers alike, the output, too
    making = file.with_suffix(".making")
    if llama_cpp.llama_model_quantize(str(full).encode(), str(making).encode(), params):
        raise Missing(f"{full} cannot be written as {precision}")
    making.rename(file)


def _params(asked: Options) -> "llama_cpp.llama_context_params":
    params = llama_cpp.llama_context_default_params()
    params.n_seq_max = asked.streams
    params.n_ctx = asked.streams * max(256, -(-asked.tokens // 256) * 256)
    params.n_batch = BATCH
    params.n_threads = params.n_threads_batch = asked.threads
    return params


if __name__ == "__main__":
    serve(lambda: Llama(options()))
