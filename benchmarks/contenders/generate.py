"""transformers' `generate` on a padded batch of the same size, as most scripts do it."""

import time

import torch
from transformers import GenerationConfig

from ..contest import Outcome, Task
from ..lines import resident, serve
from .bare import loaded
from .options import Options, options


class Generate:
    def __init__(self, asked: Options) -> None:
        self._model = loaded(asked)

    @torch.inference_mode()
    def run(self, task: Task) -> Outcome:
        longest = max(len(prompt.ids) for prompt in task.prompts)
        rows = [[0] * (longest - len(prompt.ids)) + [*prompt.ids] for prompt in task.prompts]
        masks = [
            [0] * (longest - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in task.prompts
        ]
        begun = time.perf_counter()
        times: list[float] = []

        def note(ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
            """Asked after each token whether a row is done: none is before its length."""
            times.append(time.perf_counter() - begun)
            return torch.zeros(len(ids), dtype=torch.bool)

        self._model.generate(  # type: ignore[operator]
            torch.tensor(rows),
            attention_mask=torch.tensor(masks),
            generation_config=greedy(task.new_tokens),
            stopping_criteria=[note],
        )
        seconds, streams = time.perf_counter() - begun, len(task.prompts)
        return Outcome([times] * streams, streams * task.new_tokens, seconds)

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        """Its memory goes with the process."""


def greedy(new_tokens: int) -> GenerationConfig:
    """That many tokens, whatever they are."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=new_tokens, do_sample=False, eos_token_id=None, pad_token_id=0
    )


if __name__ == "__main__":
    serve(lambda: Generate(options()))
