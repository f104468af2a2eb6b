"""Asks one upstream: generations, embeddings, counts. Maps what goes wrong; owns no task."""

import contextlib
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from ...adapters.errors import ServeError, UnknownModel, UnknownRoute, WorkerLost, WorkerSilent
from ...adapters.host.http import Answer as HttpAnswer, Http
from ...adapters.wire.sse_reader import Decoder
from ..engine import Embeddings
from ..job import Piece
from .answers import QUOTED, Answer
from .asking import UpstreamJob
from .counting import guess, question, room_for, tokens_in
from .dialects import DIALECTS
from .faults import noted, refusal, unconnected
from .redaction import Redaction

BRIEF = 10.0  # seconds for a question that no model has to think about


class Upstream:
    """One model at one server. Owned by the event loop of `http`; `silence` is in seconds.

    `url` ends where OpenAI's paths begin, usually in /v1. Its errors speak of it by `name`, and of
    its address and the `key` not at all: see faults.
    """

    def __init__(
        self, http: Http, url: str, silence: float, *, name: str = "the upstream", key: str = ""
    ) -> None:
        self._http, self.url, self._silence = http, url, silence
        self._redaction = Redaction(name, url, key)

    async def ask(
        self, path: str, body: Any = None, *, root: bool = False, seconds: float = BRIEF
    ) -> Any:
        """The JSON that `path` answers, to a GET without a body; raises a ServeError.

        With `root` the path is one of the server's own, beside OpenAI's.
        """
        url = (self.root if root else self.url) + path
        method = "GET" if body is None else "POST"
        async with self._answer(url, body, silence=seconds, total=seconds, method=method) as answer:
            raw = await self._whole(answer)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as exc:
            error = ServeError(f"{self._redaction.name} answered no JSON")
            said = self._redaction.for_the_log(repr(raw[:QUOTED]))
            raise noted(error, f"{url} answered no JSON: {said}") from exc

    async def knock(self) -> None:
        """Raises WorkerLost where it takes no connection; asks nothing of one that is busy."""
        with self._told("cannot be reached"):
            await self._http.knock(self.url, timeout=BRIEF)

    async def check(self, model: str, dialect: str) -> None:
        """Raises a ServeError unless it says that it serves `model`, or that it is there at all
        where it need not list what it serves."""
        if dialect == "transformers":
            await self.ask("/openapi.json", root=True)
            return
        answer = await self.ask("/models")
        try:
            served = [str(card["id"]) for card in answer["data"]]
        except (KeyError, TypeError) as exc:
            raise ServeError(f"{self.url} lists no models") from exc
        if model not in served:
            raise UnknownModel(f"{self.url} serves {', '.join(served) or 'no model'}, not {model}")

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    async def generate(self, job: UpstreamJob, dialect: str, context: int) -> AsyncGenerator[Piece]:
        """The answer as it comes; leaving early closes the connection, so that it is not computed.

        The last piece has the finish_reason. Raises a ServeError, never ends short.
        """
        limit, prompt_tokens = await self._limit(job, dialect, context)
        body = job.body if limit is None else {**job.body, "max_tokens": limit}
        url = self.url + job.path
        async with self._answer(url, body, silence=self._silence) as response:
            answer, decoder = Answer(job, prompt_tokens, self._redaction), Decoder()
            async for chunk in self._chunks(response):
                for data in decoder.feed(chunk):
                    if (piece := answer.feed(data)) is not None:
                        yield piece
                if answer.done:
                    break
        if not answer.begun:
            await self._explain(job)
        if answer.untold:
            await self._count_the_text(answer, job, dialect)
        yield answer.end()

    async def _count_the_text(self, answer: Answer, job: UpstreamJob, dialect: str) -> None:
        """For an upstream that tells no usage; an answer is whole without."""
        with contextlib.suppress(ServeError):
            tokens = await self.count({"prompt": answer.text}, job.body["model"], dialect)
            answer.counted(tokens or 0)

    async def _explain(self, job: UpstreamJob) -> None:
        """Raise the error that a stream without a single event kept to itself, if it is told else.

        llama-cpp-python's server ends a stream so, whatever went wrong.
        """
        body = {**job.body, "stream": False, "max_tokens": 1}
        body.pop("stream_options", None)
        try:
            await self.ask(job.path, body, seconds=self._silence)
        except WorkerLost:  # it hung up behind the stream, on the connection that was taken again
            await self.ask(job.path, body, seconds=self._silence)

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        body = {"model": model, "input": list(texts), "encoding_format": "float"}
        answer = await self.ask("/embeddings", body, seconds=self._silence)
        try:
            vectors = [_normalised(one["embedding"]) for one in _in_order(answer["data"])]
            tokens = int((answer.get("usage") or {}).get("prompt_tokens") or 0)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            error = WorkerLost(f"the vectors of {self._redaction.name} cannot be read")
            said = self._redaction.for_the_log(repr(exc)[:QUOTED])
            raise noted(error, f"{self.url} gave vectors that cannot be read: {said}") from exc
        if len(vectors) != len(texts):
            raise WorkerLost(f"{len(texts)} texts brought {len(vectors)} vectors")
        return Embeddings(vectors, tokens)

    async def count(self, prompt: dict[str, Any], model: str, dialect: str) -> int | None:
        """The tokens of a job's `prompt` or `messages`; None where the upstream does not count."""
        asked = question(prompt, model, DIALECTS[dialect].counts)
        if asked is None:
            return None
        path, body = asked
        try:
            return tokens_in(await self.ask(path, body, root=True))
        except (UnknownRoute, WorkerSilent):  # an older server, or one that has no time for it
            return None

    async def _limit(self, job: UpstreamJob, dialect: str, context: int) -> tuple[int | None, int]:
        """The most new tokens to ask for, None for what is left; and the prompt's tokens, counted
        where that has to be, else estimated. Raises PromptTooLong."""
        known = DIALECTS[dialect]
        fits = not known.strict or job.most + job.max_new_tokens <= context
        fills = job.chat and job.max_new_tokens >= context
        count = None
        if known.totals is None or not (fits or fills):
            count = await self.count(job.body, job.body["model"], dialect)
        told = guess(job) if count is None else count
        if fits:
            return min(job.max_new_tokens, context), told
        return None if fills else room_for(job, count, context), told

    @asynccontextmanager
    async def _answer(self, url: str, body: Any, **how: Any) -> AsyncIterator[HttpAnswer]:
        """A good answer, while it arrives; raises a ServeError for any other."""
        async with AsyncExitStack() as stack:
            with self._told("cannot be reached"):
                answer = await stack.enter_async_context(self._http.stream(url, body, **how))
            if answer.status != 200:
                raw, wait = await self._whole(answer), answer.headers.get("Retry-After")
                raise refusal(url, answer.status, raw, wait, self._redaction)
            yield answer

    async def _whole(self, answer: HttpAnswer) -> bytes:
        with self._told("broke the connection off"):
            return await answer.read()

    async def _chunks(self, answer: HttpAnswer) -> AsyncGenerator[bytes]:
        with self._told("broke the connection off"):
            async for chunk in answer.chunks():
                yield chunk

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of the connection, as clients may read them."""
        try:
            yield
        except ServeError as exc:
            raise unconnected(exc, what, self._redaction) from exc


def _in_order(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(data, key=lambda one: int(one.get("index", 0)))


def _normalised(vector: Sequence[float]) -> list[float]:
    """L2-normalised; a vector of nothing but zeros stays one."""
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / length for x in vector]
