"""The reference: forward and argmax over a static KV cache, nothing else.

With the engine's own kernels no server can be faster; with `torch` as one more argument it is what
torch's kernels can do.
"""

import os
import time

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, StaticCache

from danlu.adapters.kernels.library import library
from danlu.adapters.kernels.linear import use

from ..contest import Outcome, Task
from ..lines import resident, serve
from .options import Options, options

TORCH = "torch"


class Bare:
    def __init__(self, asked: Options) -> None:
        self._model = loaded(asked)
        if TORCH not in asked.more and (own := library(os.environ)) is not None:
            use(own, self._model)

    @torch.inference_mode()
    def run(self, task: Task) -> Outcome:
        """Prompts must have one length. Reading a token back is part of everybody's step."""
        ids = torch.tensor([prompt.ids for prompt in task.prompts])
        length = ids.shape[1]
        begun = time.perf_counter()
        cache = StaticCache(config=self._model.config, max_cache_len=length + task.new_tokens)
        position = torch.arange(length)
        times: list[float] = []
        for _ in range(task.new_tokens):
            out = self._model(
                ids,
                past_key_values=cache,
                position_ids=position.expand(len(ids), -1),
                use_cache=True,
                logits_to_keep=1,
            )
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            ids.tolist()
            position = position[-1:] + 1
            times.append(time.perf_counter() - begun)
        streams = len(task.prompts)
        return Outcome([times] * streams, streams * task.new_tokens, times[-1])

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        """Its memory goes with the process."""


def loaded(asked: Options) -> PreTrainedModel:
    torch.set_num_threads(asked.threads)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        asked.model, dtype=getattr(torch, asked.dtype), local_files_only=True
    )
    model.train(False)
    return model


if __name__ == "__main__":
    serve(lambda: Bare(options()))
