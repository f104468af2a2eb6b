"""What happens when a button is pressed: sessions and backends in, updates of the page out.

Every handler is a coroutine on the page's event loop; none of them blocks it. The order of the
updates that a handler returns is the order of the outputs that page.py gives it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import gradio as gr

from ..adapters.errors import BadRequest, shown
from ..adapters.host.answers import named
from . import words
from .backend import Answer, ChatBackend, Question, Sampling
from .journal import Journal, Talk
from .pace import paced
from .served import Served, View
from .session import Phase, Session, Turn
from .settings import WebuiSettings
from .writing import KEEP, Writing

log = logging.getLogger(__name__)


class Handlers:
    """The page's events. Owned by the event loop; a session belongs to one tab."""

    def __init__(
        self,
        settings: WebuiSettings,
        backend: ChatBackend,
        served: Served,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._backend, self._served = settings, backend, served
        self._journal, self._clock = journal, clock
        self._places = asyncio.Semaphore(settings.concurrency_count)

    # models

    async def opened(self, wish: str) -> tuple[Any, Any]:
        """A page opens, perhaps with ?model=NAME: (model, notice)."""
        await self._served.look(anew=self._settings.model_list_mode == "reload")
        return await self.listed(wish or None)

    async def listed(self, chosen: str | None) -> tuple[Any, Any]:
        """The list as it is now: (model, notice). What is chosen stays chosen."""
        view = await self._served.look()
        choices = list(view.models)
        if chosen and chosen not in choices:
            choices.append(chosen)
        if not chosen and choices:
            chosen = choices[0]
        return gr.update(choices=choices, value=chosen), self._notice(view, chosen)

    async def chosen(self, model: str | None) -> Any:
        """Another model was chosen: the notice. The conversation goes on with it."""
        return self._notice(await self._served.look(), model)

    def _notice(self, view: View, chosen: str | None) -> Any:
        text = words.notice(view.models, view.problem, chosen)
        return gr.update(value=text, visible=bool(text))

    # conversation

    async def ask(self, session: Session, text: str, model: str | None) -> tuple[Any, ...]:
        """A question is sent: (box, go, status, *look)."""
        text = str(text or "")
        if session.busy or not text.strip():
            return KEEP, KEEP, KEEP, *_look(session)
        limit = self._settings.input_char_len_limit
        if len(text) > limit:
            return KEEP, KEEP, words.too_long(len(text), limit), *_look(session)
        if not model:
            return KEEP, KEEP, words.NO_MODEL, *_look(session)
        session.used = self._clock()
        session.ask(text)
        return "", time.time(), "", *_look(session)

    async def again(self, session: Session) -> tuple[Any, ...]:
        """The last question anew: (go, status, *look)."""
        accepted = session.again()
        return time.time() if accepted else KEEP, "" if accepted else KEEP, *_look(session)

    async def answer(
        self,
        session: Session,
        model: str,
        system: str,
        temperature: float,
        top_p: float,
        top_k: float,
        max_tokens: float,
        request: gr.Request,
    ) -> AsyncGenerator[tuple[Any, Any]]:
        """The answer while it is written: (chat, status) each time."""
        turn = session.take()
        if turn is None:
            yield KEEP, KEEP
            return
        turn.model, start, sampling = str(model), time.time(), Sampling()
        writing = Writing(session, turn, self._clock)
        try:
            sampling = _sampling(temperature, top_p, top_k, max_tokens)
            question = Question(turn.model, session.messages(str(system)), sampling)
            async with aclosing(self._written(question, writing)) as answers:
                async for answer in answers:
                    yield writing.update(answer)
        except Exception as exc:
            error = named(exc).blame(words.server_of(turn.model))
            turn.error = words.failure(error)
            if error.logged != error.told:
                log.warning("question failed model=%s: %s", shown(turn.model), error.logged)
        finally:
            turn.phase, session.used = Phase.ENDED, self._clock()
            self._journal.chat(writing.talk(str(system), _ip(request)), sampling, start)
            log.info("answered %s", writing.facts())
        yield writing.update()

    def _written(self, question: Question, writing: Writing) -> AsyncGenerator[Answer | None]:
        placed = self._placed(question, writing.turn)
        return paced(placed, writing.turn.stop, writing.interval, clock=self._clock)

    async def _placed(self, question: Question, turn: Turn) -> AsyncGenerator[Answer]:
        """The answer, once one of the page's places is free."""
        async with self._places:
            turn.phase = Phase.ASKED
            async with aclosing(self._backend.stream(question)) as answers:
                async for answer in answers:
                    yield answer

    async def settle(self, session: Session) -> tuple[Any, ...]:
        """After an answer, however it ended: (*look)."""
        return _look(session)

    async def stop(self, session: Session) -> tuple[Any, ...]:
        """(*look). The writer of the answer ends by itself and shows what there is."""
        session.stop()
        return _look(session)

    async def clear(self, session: Session) -> tuple[Any, ...]:
        """(status, *look)."""
        session.clear()
        return "", *_look(session)

    # votes

    def vote(self, kind: str) -> Callable[..., Any]:
        """The handler of one kind of vote: (*look)."""

        async def cast(session: Session, system: str, request: gr.Request) -> tuple[Any, ...]:
            if session.turns and not session.busy and not session.voted:
                session.voted = True
                model, turns = session.turns[-1].model, tuple(session.turns)
                talk = Talk(session.conv_id, model, str(system), _ip(request), turns)
                self._journal.vote(kind, talk)
            return _look(session)

        return cast


def _sampling(temperature: Any, top_p: Any, top_k: Any, max_tokens: Any) -> Sampling:
    """The sliders' values; raises BadRequest for one that was emptied."""
    try:
        return Sampling(float(temperature), float(top_p), int(top_k) or -1, int(max_tokens))
    except (TypeError, ValueError, OverflowError):
        raise BadRequest("every parameter wants a number; see Parameters") from None


def _look(session: Session) -> tuple[Any, ...]:
    """(chat, send, stop, again, clear, up, down, flag) as the session has them now."""
    busy, some = session.busy, bool(session.turns)
    vote = gr.update(interactive=some and not busy and not session.voted)
    return (
        words.chat(session.turns),
        gr.update(visible=not busy),
        gr.update(visible=busy),
        gr.update(interactive=some and not busy),
        gr.update(interactive=some),
        vote,
        vote,
        vote,
    )


def _ip(request: gr.Request) -> str:
    """The address that the connection came from; headers could say anything."""
    client = getattr(request, "client", None)
    return str(getattr(client, "host", ""))
