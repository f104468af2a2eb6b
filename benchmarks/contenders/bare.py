"""The reference: forward and argmax over a static KV cache, nothing else.

With the engine's own kernels no server can be faster; with `torch` as one more argument it is what
torch's kernels can do, and with `compile` what torch.compile makes of the steps that decode.
"""

import os
import shutil
import tempfile
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, StaticCache

from danlu.adapters.kernels.library import library
from danlu.adapters.kernels.linear import use

from ..contest import Outcome, Task
from ..lines import Missing, resident, serve
from .options import Options, options

TORCH, COMPILE = "torch", "compile"


class Bare:
    def __init__(self, asked: Options) -> None:
        self._model: Any = loaded(asked)
        self._compiled = Compiled(self._model) if COMPILE in asked.more else None
        self._decode = self._model if self._compiled is None else self._compiled.model
        if not {TORCH, COMPILE} & {*asked.more} and (own := library(os.environ)) is not None:
            use(own, self._model)

    @torch.inference_mode()
    def run(self, task: Task) -> Outcome:
        """Prompts must have one length. Reading a token back is part of everybody's step; what is
        compiled is so in the round that does not count."""
        ids = torch.tensor([prompt.ids for prompt in task.prompts])
        length = ids.shape[1]
        begun = time.perf_counter()
        cache = StaticCache(config=self._model.config, max_cache_len=length + task.new_tokens)
        position = torch.arange(length)
        times: list[float] = []
        for number in range(task.new_tokens):
            model = self._decode if number else self._model
            out = model(
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
        if self._compiled is not None:
            self._compiled.close()


class Compiled:
    """The model by way of inductor, for shapes that stay as they are. What that writes goes with
    it."""

    def __init__(self, model: PreTrainedModel) -> None:
        if shutil.which("g++") is None:
            raise Missing("torch.compile needs g++")
        self._folder = tempfile.TemporaryDirectory(prefix="danlu-inductor-")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._folder.name
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # else workers stay, on others' cores
        options: dict[str, Any] = {"freezing": True}  # weights in the best layout
        self.model = torch.compile(model, dynamic=False, options=options)

    def close(self) -> None:
        self._folder.cleanup()


def loaded(asked: Options) -> PreTrainedModel:
    torch.set_num_threads(asked.threads)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        asked.model, dtype=getattr(torch, asked.dtype), local_files_only=True
    )
    model.train(False)
    return model


if __name__ == "__main__":
    serve(lambda: Bare(options()))
