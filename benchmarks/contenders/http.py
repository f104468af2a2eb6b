"""Asks a server for all streams of a task at once, with the load generator of `danlu bench`."""

import asyncio
import time
from collections.abc import Sequence

from danlu.adapters.host.http import Http
from danlu.cli.bench.asking import Asker
from danlu.cli.bench.dialects import Dialect, Wishes
from danlu.cli.bench.load import in_lanes
from danlu.cli.bench.prompts import Question
from danlu.cli.bench.sample import Sample

from ..contest import Outcome, Task

MODEL = "bench"  # the name that every server here serves its model under


def stream_all(
    url: str, dialect: Dialect, task: Task, *, eos: bool = False, uncounted: int = 0
) -> Outcome:
    """Raises RuntimeError for a failed stream, and for a prompt that was read as other tokens.

    `eos` lets answers end before their length; `uncounted` tokens of each answer are missing in the
    server's own count.
    """
    wishes = Wishes(MODEL, ignore_eos=not eos)
    questions = [Question(prompt.text, task.new_tokens) for prompt in task.prompts]
    samples: list[Sample] = []

    async def ask() -> tuple[float, float]:
        async with Http() as http:
            begun = time.perf_counter()
            asker = Asker(http, url, dialect, wishes)
            await in_lanes(questions, len(questions), asker.ask, samples)
            return begun, time.perf_counter() - begun

    begun, seconds = asyncio.run(ask())
    _check(samples, task)
    tokens = sum(sample.output_tokens + uncounted for sample in samples)
    return Outcome([[at - begun for at in one.texts] for one in samples], tokens, seconds)


def _check(samples: Sequence[Sample], task: Task) -> None:
    for sample, prompt in zip(samples, task.prompts, strict=True):
        if sample.error:
            raise RuntimeError(f"a stream failed: {sample.error}")
        read = sample.usage and sample.usage.prompt_tokens
        if read != len(prompt.ids):
            raise RuntimeError(f"a prompt of {len(prompt.ids)} tokens was read as {read}")
