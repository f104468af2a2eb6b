"""The loop of the terminal chat, with somebody scripted at either end."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from danlu.adapters.errors import PromptTooLong, ServeError
from danlu.adapters.wire.generation import Message
from danlu.cli.dialogue import Dialogue
from danlu.cli.styles import Write
from danlu.cli.talk import Talk

Said = str | type[KeyboardInterrupt] | None


class Typing:
    """Says what it is told to say, and remembers what it is shown."""

    def __init__(self, *said: Said) -> None:
        self._said = list(said)
        self.shown: list[str] = []

    def ask(self, role: str) -> str | None:
        said = self._said.pop(0) if self._said else None
        if said is KeyboardInterrupt:
            raise KeyboardInterrupt
        assert said is None or isinstance(said, str)
        return said

    @contextlib.contextmanager
    def answer(self, role: str) -> Iterator[Write]:
        self.shown.append(f"{role}: ")

        def write(text: str) -> None:
            self.shown[-1] += text

        yield write

    def say(self, text: str) -> None:
        self.shown.append(f"[{text}]")


class Echo:
    """Answers with the last question in capitals, letter by letter; `asked` has what it saw."""

    def __init__(self, fails: dict[str, BaseException] | None = None) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self._fails = fails or {}

    def answer(self, messages: list[Message]) -> Iterator[str]:
        self.asked.append([(m.role, m.content) for m in messages])
        question = messages[-1].content
        if isinstance(self._fails.get(question), PromptTooLong):
            raise self._fails[question]
        return self._parts(question)

    def account(self) -> str:
        return "an account"

    def _parts(self, question: str) -> Iterator[str]:
        for letter in question.upper():
            if letter == "!":
                raise self._fails[question]
            yield letter


def after(
    *said: Said,
    speaker: Echo | None = None,
    remembers: bool = True,
    debug: bool = False,
) -> tuple[Talk, Sequence[str], Echo]:
    talk, typing, speaker = Talk("chatglm2", ("问", "答")), Typing(*said), speaker or Echo()
    Dialogue(talk, typing, speaker, remembers=remembers, debug=debug).run()
    return talk, typing.shown, speaker


def test_a_question_is_answered_and_remembered() -> None:
    talk, shown, speaker = after("hi", "ho", "!!exit", "never read")
    assert shown == ["答: HI", "答: HO"]
    assert speaker.asked[1] == [("user", "hi"), ("assistant", "HI"), ("user", "ho")]
    assert len(talk.turns) == 4


@pytest.mark.parametrize("end", ["!!exit", "", None])
def test_exit_an_empty_line_and_the_end_of_input_end_it(end: str | None) -> None:
    assert after(end, "never read")[2].asked == []


def test_without_history_every_question_stands_alone() -> None:
    _, _, speaker = after("hi", "ho", remembers=False)
    assert speaker.asked == [[("user", "hi")], [("user", "ho")]]


def test_bytes_that_are_no_text_are_not_said_to_the_model() -> None:
    talk, shown, speaker = after("h\udcff", "ho")
    assert shown == ["[that is no UTF-8 text; it is not said to the model]", "答: HO"]
    assert speaker.asked == [[("user", "ho")]]


def test_the_last_question_can_be_answered_anew() -> None:
    talk, shown, speaker = after("hi", "ho", "!!regen")
    assert speaker.asked[1] == speaker.asked[2]
    assert len(talk.turns) == 4
    assert shown[-1] == "答: HO"


def test_the_last_round_can_be_removed_and_everything_be_forgotten() -> None:
    talk, shown, _ = after("hi", "ho", "!!remove")
    assert [text for _, text in talk.turns] == ["hi", "HI"]
    assert after("hi", "!!reset")[0].turns == ()
    _, shown, _ = after("!!remove", "!!regen")
    assert shown == ["[there is nothing to remove]", "[there is no question to answer anew]"]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_seen() -> None:
    talk, shown, _ = after("hi!ho", "more", speaker=Echo({"hi!ho": KeyboardInterrupt()}))
    assert shown == ["答: HI", "[stopped]", "答: MORE"]
    assert [text for _, text in talk.turns] == ["hi!ho", "HI", "more", "MORE"]


def test_ctrl_c_before_the_first_word_forgets_the_question() -> None:
    talk, shown, _ = after("!", speaker=Echo({"!": KeyboardInterrupt()}))
    assert shown == ["答: ", "[stopped]"]
    assert talk.turns == ()


def test_ctrl_c_at_the_prompt_ends_it_only_twice_in_a_row() -> None:
    _, shown, _ = after(KeyboardInterrupt, "hi", KeyboardInterrupt, None)
    assert shown[1] == "答: HI"
    with pytest.raises(KeyboardInterrupt):
        after(KeyboardInterrupt, KeyboardInterrupt)


def test_a_question_that_cannot_be_taken_is_forgotten_and_the_chat_goes_on() -> None:
    talk, shown, _ = after("long", "hi", speaker=Echo({"long": PromptTooLong("too long")}))
    assert shown == ["[too long]", "答: HI"]
    assert len(talk.turns) == 2


def test_a_fault_within_an_answer_is_told_and_the_chat_goes_on() -> None:
    _, shown, _ = after("a!", "hi", speaker=Echo({"a!": ServeError("out of memory")}))
    assert shown == ["答: A", "[out of memory]", "答: HI"]


def test_an_account_is_given_for_debugging_only() -> None:
    assert after("hi", debug=True)[1] == ["答: HI", "[an account]"]


def test_a_conversation_is_saved_and_gone_on_with(tmp_path: Path) -> None:
    _, shown, _ = after("hi", f"!!save {tmp_path}/talk")
    assert shown[-1] == f"[saved as {tmp_path}/talk.json]"
    assert json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))["roles"] == ["问", "答"]
    for name in ("talk", "talk.json"):
        _, shown, speaker = after(f"!!load {tmp_path}/{name}", "ho")
        assert shown[1:] == ["问: hi", "答: HI", "答: HO"]
        assert len(speaker.asked[0]) == 3


@pytest.mark.parametrize("line", ["!!load {}/missing", "!!save {}/no/such/dir", "!!load {}"])
def test_a_file_that_cannot_be_used_is_one_sentence(line: str, tmp_path: Path) -> None:
    _, shown, speaker = after(line.format(tmp_path), "hi")
    assert shown[0].startswith(f"[{tmp_path}")
    assert len(speaker.asked) == 1


def test_a_mistyped_command_is_one_sentence() -> None:
    _, shown, speaker = after("!!quit")
    assert shown[0].startswith("[there is no command !!quit")
    assert speaker.asked == []
