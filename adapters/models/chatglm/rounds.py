"""How ChatGLM2 and ChatGLM3 write a conversation down. Pure: knows no tokenizer and no limits.

ChatGLM2 writes rounds of question and answer as one text. ChatGLM3 puts a role's own token before
each turn, so its form is a list of segments, of which only a `Marker` ever becomes such a token:
whatever a user writes is text.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

ROLES = ("system", "user", "assistant", "observation")
SPELLED = re.compile(r"<\|(system|user|assistant|observation)\|>")
BREAK = "\n\n"
ANSWER = "答："


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says. `metadata` is ChatGLM3's: the name of a tool that is called."""

    role: str
    content: str
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Marker:
    """The special token of a role."""

    role: str

    def __str__(self) -> str:
        return f"<|{self.role}|>"


Segment = Marker | str


@dataclass(frozen=True, slots=True)
class Conversation:
    """All system text, and rounds that each begin with a user's turn.

    Only the first may lack one. An assistant's turn at the very end is an answer to continue.
    """

    system: str
    rounds: tuple[tuple[Turn, ...], ...]

    @property
    def continues(self) -> bool:
        return bool(self.rounds) and self.rounds[-1][-1].role == "assistant"

    def without(self, oldest: int) -> "Conversation":
        """The conversation as if its oldest rounds had never been."""
        return replace(self, rounds=self.rounds[oldest:])


def conversation(turns: Iterable[Turn]) -> Conversation:
    """System turns are put together in front; neighbours of one role are one turn."""
    system: list[str] = []
    rounds: list[list[Turn]] = []
    for turn in turns:
        last = rounds[-1][-1] if rounds else None
        if turn.role == "system":
            system.append(turn.content)
        elif last is not None and last.role == turn.role and not last.metadata + turn.metadata:
            rounds[-1][-1] = Turn(turn.role, _joined([last.content, turn.content]))
        elif last is None or turn.role == "user":
            rounds.append([turn])
        else:
            rounds[-1].append(turn)
    if len(rounds) and rounds[-1][-1] == Turn("assistant", ""):  # it has yet to begin
        rounds[-1:] = [rounds[-1][:-1]] if rounds[-1][:-1] else []
    return Conversation(_joined(system), tuple(map(tuple, rounds)))


def cut(whole: Conversation, fits: Callable[[Conversation], bool]) -> tuple[Conversation, int]:
    """The most recent rounds that fit, and how many older ones do not.

    The system text and the last round stay, whether they fit or not.
    """
    most = max(len(whole.rounds) - 1, 0)
    dropped = bisect_left(range(most), True, key=lambda oldest: fits(whole.without(oldest)))
    return whole.without(dropped), dropped


def as_text(spoken: Conversation) -> str:
    """ChatGLM2's form, up to where the answer begins or goes on; rounds are counted from 1."""
    rounds = spoken.rounds or ((Turn("user", ""),),)
    numbered = [_round(number, turns) for number, turns in enumerate(rounds, 1)]
    return BREAK.join([spoken.system, *numbered] if spoken.system else numbered)


def as_turns(spoken: Conversation) -> list[Turn]:
    """All turns in the order in which ChatGLM3 reads them."""
    system = [Turn("system", spoken.system)] if spoken.system else []
    return [*system, *(turn for turns in spoken.rounds for turn in turns)]


def as_segments(turns: Sequence[Turn], *, open_answer: bool = True) -> list[Segment]:
    """ChatGLM3's form. With `open_answer` it ends where the assistant begins or goes on.

    Its tokenizer reads each segment by itself.
    """
    segments: list[Segment] = []
    for turn in turns:
        segments += [Marker(turn.role), f"{turn.metadata}\n", turn.content]
    if open_answer and not (turns and turns[-1].role == "assistant"):
        segments.append(Marker("assistant"))
    return segments


def is_spelled(text: str) -> bool:
    """Whether `text` is a prompt that ends where ChatGLM2's answer begins."""
    return text.endswith(f"{BREAK}{ANSWER}") and f"]{BREAK}问：" in text


def spelled_turns(text: str) -> list[Turn]:
    """The turns of a prompt that spells ChatGLM3's roles out; none if it does not begin with one.

    That is how FastChat's servers and pages write it. A last role without a text is an answer that
    is to begin, and no turn.
    """
    if SPELLED.match(text) is None:
        return []
    parts = SPELLED.split(text)[1:]  # role, text, role, text, …
    turns = [_spelled(role, said) for role, said in zip(parts[::2], parts[1::2], strict=True)]
    return turns[:-1] if parts[-2:] == ["assistant", ""] else turns


def _spelled(role: str, said: str) -> Turn:
    metadata, line_end, content = said.partition("\n")
    return Turn(role, content, metadata) if line_end else Turn(role, said)


def _round(number: int, turns: Sequence[Turn]) -> str:
    question = "".join(turn.content for turn in turns if turn.role == "user")
    answer = "".join(turn.content for turn in turns if turn.role == "assistant")
    return f"[Round {number}]{BREAK}问：{question}{BREAK}{ANSWER}{answer}"


def _joined(texts: Iterable[str]) -> str:
    return BREAK.join(text for text in texts if text)
