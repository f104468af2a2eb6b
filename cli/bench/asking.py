"""Makes one request and notes its life; an error of the server's is noted, too, not raised."""

import json
import time
from collections.abc import Callable

from ...adapters.errors import ServeError, WorkerLost, shown
from ...adapters.host.http import Http
from .dialects import Dialect, Wishes
from .prompts import Question
from .sample import Sample

QUOTE = 200  # bytes of an answer that is no error we know


class Asker:
    """Asks one server. Owned by one event loop; `clock` is in seconds."""

    def __init__(
        self,
        http: Http,
        url: str,
        dialect: Dialect,
        wishes: Wishes,
        *,
        silence: float = 600.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._http, self._dialect, self._wishes = http, dialect, wishes
        self._url = url.rstrip("/") + dialect.path
        self._silence, self._clock = silence, clock

    async def ask(self, question: Question, sample: Sample) -> None:
        """Ask, and note in `sample` what comes, when it comes."""
        try:
            await self._ask(question, sample)
        except ServeError as exc:
            sample.error = shown(str(exc))
        sample.ended = self._clock()

    async def _ask(self, question: Question, sample: Sample) -> None:
        body = self._dialect.body(question, self._wishes)
        reader = self._dialect.reader()
        async with self._http.stream(self._url, body, silence=self._silence) as answer:
            if answer.status != 200:
                raise ServeError(f"status {answer.status}: {said(await answer.read())}")
            async for data in answer.chunks():
                for chunk in reader.feed(data):
                    if chunk.text:
                        sample.texts.append(self._clock())
                    sample.usage = chunk.usage or sample.usage
                    sample.finish = chunk.finish or sample.finish
        if not sample.finish:
            raise WorkerLost("the stream ended before the answer was complete")


def said(raw: bytes) -> str:
    """The words of an error's body: its message, where it is an OpenAI-style or FastChat error."""
    try:
        body = json.loads(raw)
        return str(body["error"]["message"] if "error" in body else body["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return raw[:QUOTE].decode("utf-8", "replace")
