"""`python -m support.golden_worker`: danlu's worker with the golden traces' engine for its own.

It takes the worker's flags and starts at once, because there is no model to load. Messages become
a prompt by ChatGLM2's template, as a real engine's do, so that its counts are those of the traces.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from danlu.adapters.host import logs, program
from danlu.adapters.host.serving import bind
from danlu.adapters.wire.conversation import render
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.engine import AnyEngine, Embeddings
from danlu.worker.hosting import host
from danlu.worker.job import Job
from danlu.worker.loading import Progress
from danlu.worker.settings import WorkerSettings, worker_settings

from .engines import GOLDEN, FakeEngine, Step, pieces, text_of


class GoldenEngine(FakeEngine):
    """The engine that the traces were recorded with; a batch of texts is four tokens to it."""

    def admit(self, body: GenerateBody) -> Job:
        if body.messages is not None:
            prompt = render(self.card.conversation, body.messages).text
            body = body.model_copy(update={"messages": None, "prompt": prompt})
        return super().admit(body)

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        made: Future[Embeddings] = Future()
        made.set_result(Embeddings([[0.6, 0.8] for _ in texts], 4))
        return made


def script(job: Job) -> Iterator[Step]:
    if "boom" in text_of(job):
        yield RuntimeError("kaboom")
    yield from pieces(job, GOLDEN)


def main() -> None:
    settings = worker_settings(sys.argv[1:], os.environ)
    logs.configure("worker")
    sock = bind(settings.host, settings.port)
    asyncio.run(host(settings, sock, _load, Progress()))


def _load(settings: WorkerSettings, progress: Progress) -> AnyEngine:
    return GoldenEngine(script, threads=settings.limit_worker_concurrency or 5)


if __name__ == "__main__":
    sys.exit(program.run("golden-worker", main))
