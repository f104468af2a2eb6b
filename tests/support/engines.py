"""A worker's engine without a model: it plays scripts, on real threads, one a request."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from danlu.adapters.errors import DeviceLost, PromptTooLong, ServeError
from danlu.adapters.wire.conversation import template_named
from danlu.adapters.wire.generation import GenerateBody, Usage
from danlu.worker.engine import Embeddings, ModelCard
from danlu.worker.job import FinishReason, Job, Piece, Sampling
from danlu.worker.outbox import Box
from danlu.worker.presence import Presence
from danlu.worker.shelf import Shelf

PREFIX = (64790, 64792)  # ChatGLM2's [gMASK] and sop: every prompt has two tokens before its text
WAIT = 30.0  # seconds that a script waits for its event; a test that forgets it fails, not hangs

# What FastChat's fake engine said when the golden traces were recorded, as it becomes certain:
# where that one showed a comma, half an emoji or a marker and took it back, nothing is certain yet.
GOLDEN = ("你", "好", "", "，我", "", "😊", "", "2023年。")

Step = Piece | threading.Event | Exception
Script = Callable[[Job], Iterator[Step]]


class FakeEngine:
    """Plays `script` for every job: puts its pieces, waits for its events, raises its errors.

    A character is a token. What it was given is in `jobs`; `left` counts the jobs that ended
    because their reader had left.
    """

    def __init__(
        self,
        script: Script,
        *,
        card: ModelCard | None = None,
        threads: int = 5,
        adapters: Shelf | None = None,
    ) -> None:
        self.card = card or a_card()
        self.lost: Future[None] = Future()
        self.adapters = adapters
        self.presence = Presence()
        self.jobs: list[Job] = []
        self.bodies: list[GenerateBody] = []
        self.left = 0
        self.closed = False
        self._script = script
        self._open = 0
        self._lock = threading.Lock()  # guards the counters, which several threads change
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fake-engine")

    def admit(self, body: GenerateBody) -> Job:
        text = body.prompt or "".join(m.content for m in body.messages or ())
        ids = tuple(body.prompt_token_ids or (*PREFIX, *map(ord, text)))
        if len(ids) >= self.card.context_length:
            raise PromptTooLong(
                f"This model's maximum context length is {self.card.context_length} tokens. "
                f"However, your messages resulted in {len(ids)} tokens. "
                "Please reduce the length of the messages."
            )
        self.bodies.append(body)
        return Job(ids, body.max_new_tokens, Sampling(seed=body.seed))

    def submit(self, job: Job, box: Box) -> None:
        self.jobs.append(job)
        self._count(1)
        self._threads.submit(self._run, job, box)

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        return self._threads.submit(self._embed, list(texts))

    def count(self, text: str) -> int:
        return len(PREFIX) + len(text)

    def queue_length(self) -> int:
        return self._open

    def close(self) -> None:
        self.closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job, box: Box) -> None:
        error: ServeError | None = None
        try:
            self._play(job, box)
        except ServeError as exc:
            error = exc
            if isinstance(exc, DeviceLost) and not self.lost.done():
                self.lost.set_result(None)
        except Exception as exc:
            error = ServeError(str(exc))
        finally:
            self._count(-1)
            box.close(error)

    def _play(self, job: Job, box: Box) -> None:
        for step in self._script(job):
            if box.abandoned:
                self.left += 1
                return
            if isinstance(step, Piece):
                box.put(step)
            elif isinstance(step, threading.Event):
                self._wait(step, box)
            else:
                raise step

    def _wait(self, event: threading.Event, box: Box) -> None:
        """As an engine between two steps: it wakes for the event, or because its reader left."""
        waited = 0.0
        while not (event.wait(0.01) or box.abandoned or self.closed or self.lost.done()):
            waited += 0.01
            if waited > WAIT:
                raise ServeError("the test never set the event")
        if self.lost.done():
            raise DeviceLost("the fake device is lost")
        if self.closed and not (event.is_set() or box.abandoned):
            raise ServeError("this worker is stopping")

    def _embed(self, texts: list[str]) -> Embeddings:
        for step in self._script(Job(tuple(map(ord, "".join(texts))), 1)):
            if isinstance(step, Exception):
                raise step if isinstance(step, ServeError) else ServeError(str(step))
        return Embeddings([[0.6, 0.8] for _ in texts], 4 * len(texts))

    def _count(self, change: int) -> None:
        with self._lock:
            self._open += change


def a_card(
    context_length: int = 200, *, embeddings: bool = True, template: str = "chatglm2"
) -> ModelCard:
    """The card of a model that honours every field of a body."""
    return ModelCard(
        context_length=context_length,
        conversation=template_named(template),
        parameters=frozenset(GenerateBody.model_fields),
        embeddings=embeddings,
    )


def pieces(job: Job, texts: Sequence[str], finish: FinishReason | None = "stop") -> Iterator[Piece]:
    """A piece a text, a token each, and one that says how it ended."""
    for index, text in enumerate(texts, 1):
        yield Piece(text, _usage(job, index))
    if finish is not None:
        yield Piece("", _usage(job, len(texts)), finish_reason=finish)


def says(*texts: str, finish: FinishReason = "stop") -> Script:
    """A script that answers `texts` to everything."""
    return lambda job: pieces(job, texts, finish)


def golden(job: Job) -> Iterator[Step]:
    """The script behind the golden traces."""
    if text_of(job) == "boom":
        yield RuntimeError("kaboom")
    yield from pieces(job, GOLDEN)


def text_of(job: Job) -> str:
    """The prompt that a job was made from."""
    return "".join(chr(token) for token in job.prompt_ids if token not in PREFIX)


def _usage(job: Job, done: int) -> Usage:
    asked = len(job.prompt_ids)
    return Usage(prompt_tokens=asked, completion_tokens=done, total_tokens=asked + done)
