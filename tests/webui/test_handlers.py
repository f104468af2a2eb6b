"""What happens when a button is pressed."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from support.processes import SOON

from danlu.adapters.errors import NoWorker, WorkerLost
from danlu.adapters.wire.generation import Usage
from danlu.webui.backend import Answer, Question
from danlu.webui.handlers import Handlers
from danlu.webui.journal import Journal
from danlu.webui.served import Served
from danlu.webui.session import Session
from danlu.webui.settings import WebuiSettings
from danlu.webui.writing import KEEP

pytestmark = pytest.mark.anyio


class Scripted:
    """A backend that says `says` and then fails with `error` or waits until `go_on`."""

    def __init__(self, *says: str) -> None:
        self.says = says
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.names = ["m"]
        self.asked: list[Question] = []
        self.running = self.most = 0

    async def models(self) -> list[str]:
        return self.names

    async def stream(self, question: Question) -> AsyncGenerator[Answer]:
        self.asked.append(question)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            text = ""
            for piece in self.says:
                text += piece
                yield Answer(text)
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            yield Answer(text, Usage(prompt_tokens=1, completion_tokens=2), "stop")
        finally:
            self.running -= 1


class Browser:
    """One tab: a session, and what it was shown last."""

    def __init__(self, handlers: Handlers) -> None:
        self.handlers, self.session = handlers, Session()
        self.chat: Any = None
        self.status: Any = None

    async def ask(self, text: str, model: str | None = "m") -> tuple[Any, ...]:
        return await self.handlers.ask(self.session, text, model)

    def answers(self, **changed: Any) -> AsyncGenerator[tuple[Any, Any]]:
        given = {
            "model": "m",
            "system": "",
            "temperature": 0.7,
            "top_p": 1,
            "top_k": 0,
            "max_tokens": 16,
            **changed,
        }
        return self.handlers.answer(self.session, request=Visitor(), **given)

    async def read(self, **changed: Any) -> None:
        async for chat, status in self.answers(**changed):
            self.chat = self.chat if chat is KEEP else chat
            self.status = status


class Visitor:
    class client:
        host = "10.0.0.7"


def handlers_of(backend: Scripted, log_dir: str = "", **settings: Any) -> Handlers:
    return Handlers(WebuiSettings(**settings), backend, Served(backend, 0.0), Journal(log_dir))


async def test_a_question_is_answered() -> None:
    backend = Scripted("Hel", "lo")
    tab = Browser(handlers_of(backend))
    box, go, *_ = await tab.ask("hi")
    assert (box, type(go)) == ("", float)
    await tab.read(system="be kind", top_k=5)
    assert tab.chat == [["hi", "Hello"]]
    assert "1 + 2 tokens" in tab.status
    [question] = backend.asked
    assert [(m.role, m.content) for m in question.messages] == [
        ("system", "be kind"),
        ("user", "hi"),
    ]
    assert question.sampling.top_k == 5


@pytest.mark.parametrize(("text", "model"), [("  \n", "m"), ("hi", None)])
async def test_nothing_to_send_sends_nothing(text: str, model: str | None) -> None:
    backend = Scripted()
    tab = Browser(handlers_of(backend))
    box, go, *_ = await tab.ask(text, model)
    assert box is KEEP and go is KEEP
    await tab.read()
    assert backend.asked == []


async def test_a_long_question_goes_back_to_its_writer_uncut() -> None:
    tab = Browser(handlers_of(Scripted(), input_char_len_limit=10))
    box, go, status, *_ = await tab.ask("x" * 11)
    assert box is KEEP and go is KEEP
    assert "11 characters and the page takes 10; nothing was sent" in status
    assert tab.session.turns == []


async def test_a_second_question_waits_for_the_first_answer() -> None:
    tab = Browser(handlers_of(Scripted("a")))
    await tab.ask("one")
    box, go, *_ = await tab.ask("two")
    assert box is KEEP and go is KEEP
    assert [turn.question for turn in tab.session.turns] == ["one"]


async def test_an_error_is_shown_in_place_and_the_next_question_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Scripted("half")
    backend.error = WorkerLost("broke off", peer="http://w:1", why="as the test wanted it")
    tab = Browser(handlers_of(backend))
    await tab.ask("hi")
    await tab.read()
    assert tab.chat == [["hi", "half\n\n⚠ **the server of model 'm' broke off (error 50006)**"]]
    assert "question failed model=m: http://w:1 broke off: as the test wanted it" in caplog.messages
    assert "出错" in tab.status
    backend.error = None
    await tab.ask("again")
    await tab.read()
    assert tab.chat[1] == ["again", "half"]


async def test_a_defect_of_ours_is_an_answer_too() -> None:
    backend = Scripted()
    backend.error = ZeroDivisionError()
    tab = Browser(handlers_of(backend))
    await tab.ask("hi")
    await tab.read()
    assert "internal error: ZeroDivisionError (error 50001)" in tab.chat[0][1]
    assert not tab.session.busy


async def test_an_emptied_parameter_is_named() -> None:
    tab = Browser(handlers_of(Scripted()))
    await tab.ask("hi")
    await tab.read(temperature=None)
    assert "every parameter wants a number" in tab.chat[0][1]
    assert not tab.session.busy


async def test_a_stop_keeps_what_was_said_and_lets_the_backend_go() -> None:
    backend = Scripted("some")
    backend.go_on.clear()
    tab = Browser(handlers_of(backend))
    await tab.ask("hi")
    answers = tab.answers()
    await anext(answers)
    assert backend.running == 1
    await tab.handlers.stop(tab.session)
    last = [update async for update in answers][-1]
    assert last[0] == [["hi", "some"]]
    assert "已停止" in last[1]
    assert backend.running == 0


async def test_a_tab_that_is_closed_lets_the_backend_go() -> None:
    backend = Scripted("some")
    backend.go_on.clear()
    tab = Browser(handlers_of(backend))
    await tab.ask("hi")
    answers = tab.answers()
    await anext(answers)
    await answers.aclose()
    assert backend.running == 0
    assert not tab.session.busy


async def test_clearing_while_an_answer_is_written_leaves_nothing_behind() -> None:
    backend = Scripted("some")
    backend.go_on.clear()
    tab = Browser(handlers_of(backend))
    await tab.ask("hi")
    answers = tab.answers()
    await anext(answers)
    status, chat, *_ = await tab.handlers.clear(tab.session)
    assert (status, chat) == ("", [])
    assert [update async for update in answers][-1] == (KEEP, "")
    assert backend.running == 0


async def test_no_more_answers_at_once_than_told() -> None:
    backend = Scripted("some")
    backend.go_on.clear()
    handlers = handlers_of(backend, concurrency_count=2)
    tabs = [Browser(handlers) for _ in range(5)]
    for tab in tabs:
        await tab.ask("hi")
    reading = [asyncio.create_task(tab.read()) for tab in tabs]
    while backend.running < 2:
        await asyncio.sleep(0)
    backend.go_on.set()
    await asyncio.gather(*reading)
    assert backend.most == 2
    assert all(tab.chat == [["hi", "some"]] for tab in tabs)


async def test_a_tab_that_waits_for_a_place_can_be_stopped() -> None:
    backend = Scripted("some")
    backend.go_on.clear()
    handlers = handlers_of(backend, concurrency_count=1)
    first, second = Browser(handlers), Browser(handlers)
    await first.ask("one")
    running = first.answers()
    await anext(running)
    await second.ask("two")
    waiting = asyncio.create_task(second.read())
    await asyncio.sleep(0)
    await handlers.stop(second.session)
    async with asyncio.timeout(SOON):
        await waiting
    assert second.chat == [["two", ""]]
    assert len(backend.asked) == 1
    await running.aclose()


async def test_the_last_question_is_asked_again() -> None:
    backend = Scripted("first")
    tab = Browser(handlers_of(backend))
    await tab.ask("hi")
    await tab.read()
    backend.says = ("second",)
    await tab.handlers.again(tab.session)
    await tab.read()
    assert tab.chat == [["hi", "second"]]


async def test_a_page_opens_with_the_model_that_its_address_names() -> None:
    backend = Scripted()
    backend.names = ["a", "b"]
    handlers = handlers_of(backend)
    model, notice = await handlers.opened("b")
    assert (model["choices"], model["value"]) == (["a", "b"], "b")
    assert notice["visible"] is False
    model, notice = await handlers.opened("gone")
    assert (model["choices"], model["value"]) == (["a", "b", "gone"], "gone")
    assert "gone is not served now" in notice["value"]


async def test_the_first_model_that_appears_is_chosen_and_the_notice_goes() -> None:
    backend = Scripted()
    backend.names = []
    handlers = handlers_of(backend)
    model, notice = await handlers.opened("")
    assert (model["choices"], model["value"]) == ([], None)
    assert "python -m danlu.worker" in notice["value"]
    backend.names = ["m"]
    model, notice = await handlers.listed(None)
    assert (model["choices"], model["value"]) == (["m"], "m")
    assert notice["visible"] is False


@pytest.mark.parametrize(("mode", "asked"), [("once", 1), ("reload", 3)])
async def test_reload_asks_the_controller_for_every_page(mode: str, asked: int) -> None:
    backend = Counting()
    handlers = Handlers(
        WebuiSettings(model_list_mode=mode), backend, Served(backend, 60.0), Journal("")
    )
    for _ in range(3):
        await handlers.opened("")
    assert backend.lists == asked


class Counting(Scripted):
    lists = 0

    async def models(self) -> list[str]:
        self.lists += 1
        return self.names


async def test_chats_and_votes_are_logged_once(tmp_path: Path) -> None:
    handlers = handlers_of(Scripted("Hello"), log_dir=str(tmp_path))
    tab = Browser(handlers)
    await tab.ask("hi")
    await tab.read()
    vote = handlers.vote("downvote")
    await vote(tab.session, "", Visitor())
    await vote(tab.session, "", Visitor())
    [file] = tmp_path.iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["chat", "downvote"]
    assert lines[0]["ip"] == "10.0.0.7"
    assert lines[1]["state"]["messages"] == [["user", "hi"], ["assistant", "Hello"]]


async def test_a_failed_chat_is_logged_too(tmp_path: Path) -> None:
    backend = Scripted()
    backend.error = NoWorker("nobody")
    tab = Browser(handlers_of(backend, log_dir=str(tmp_path)))
    await tab.ask("hi")
    await tab.read()
    [file] = tmp_path.iterdir()
    state = json.loads(file.read_text())["state"]
    assert state["messages"][1] == ["assistant", "nobody (error 50005)"]
