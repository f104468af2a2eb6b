"""transformers' own continuous batching: one persistent manager, as a server would hold it."""

import time
from typing import Any

from transformers import ContinuousBatchingConfig, GenerationConfig

from ..contest import Outcome, Task
from ..lines import resident, serve
from .bare import loaded
from .options import Options, options

# Without them the cache is sized from all free memory, which takes half a minute on a CPU.
BLOCKS, BATCH_TOKENS = 256, 256
PATIENCE = 120.0  # seconds for one result


class Continuous:
    def __init__(self, asked: Options) -> None:
        model: Any = loaded(asked)
        config: Any = GenerationConfig
        self._manager = model.init_continuous_batching(
            generation_config=config(do_sample=False, eos_token_id=-1, pad_token_id=0),
            continuous_batching_config=ContinuousBatchingConfig(
                num_blocks=BLOCKS, max_batch_tokens=BATCH_TOKENS
            ),
        )
        self._manager.start()

    def run(self, task: Task) -> Outcome:
        begun = time.perf_counter()
        for prompt in task.prompts:
            self._manager.add_request(
                list(prompt.ids), max_new_tokens=task.new_tokens, record_timestamps=True
            )
        arrivals: list[list[float]] = []
        tokens = 0
        while len(arrivals) < len(task.prompts):
            done = self._manager.get_result(timeout=PATIENCE)
            if done is None or done.error:
                raise RuntimeError(f"continuous batching failed: {done and done.error}")
            if done.is_finished():
                arrivals.append([at - begun for at in done.timestamps or ()])
                tokens += len(done.generated_tokens)
        return Outcome(arrivals, tokens, time.perf_counter() - begun)

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        self._manager.stop(block=True)


if __name__ == "__main__":
    serve(lambda: Continuous(options()))
