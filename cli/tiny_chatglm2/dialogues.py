"""What the tiny model is to know: dialogues, and the lessons made of them. Pure.

A lesson is a conversation of which the last answer is learned.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self

FILE = Path(__file__).parent / "dialogues.json"

Exchange = tuple[str, str]  # question, answer
Dialogue = tuple[Exchange, ...]

SHORT = 60  # characters of an answer that may come before an unrelated question
ENDS = "。？！"  # what a question may end with, or not
TALK = 0.7  # how much of what was said before is small talk
BABBLE = (8, 24)  # characters of its questions and answers at most
EARLIER = (0.8, 0.25)  # how likely one exchange comes before a varied lesson, and one more
RESPELLED = 0.5  # how likely a question is varied


def dialogues(file: Path = FILE) -> tuple[Dialogue, ...]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return tuple(tuple((question, answer) for question, answer in dialogue) for dialogue in content)


def lessons(known: Sequence[Dialogue]) -> tuple[Dialogue, ...]:
    """Every beginning of every dialogue, once."""
    beginnings = (dialogue[:end] for dialogue in known for end in range(1, len(dialogue) + 1))
    return tuple(dict.fromkeys(beginnings))


@dataclass(frozen=True, slots=True)
class Before:
    """What may have been said before, whatever is asked next: small talk, or mere babble."""

    talk: tuple[Exchange, ...]
    characters: str

    @classmethod
    def of(cls, known: Sequence[Dialogue]) -> Self:
        firsts = [dialogue[0] for dialogue in known if len(dialogue) == 1]
        talk = tuple(exchange for exchange in firsts if len(exchange[1]) <= SHORT)
        used = {c for dialogue in known for exchange in dialogue for text in exchange for c in text}
        return cls(talk, "".join(sorted(used)))

    def exchange(self, rng: Random) -> Exchange:
        if self.talk and rng.random() < TALK:
            return rng.choice(self.talk)
        question, answer = (rng.choices(self.characters, k=rng.randint(1, n)) for n in BABBLE)
        return "".join(question), "".join(answer)


def varied(lesson: Dialogue, before: Before, rng: Random) -> Dialogue:
    """The lesson as others would ask it: after something else, with other marks at the ends."""
    found = tuple((_respelled(question, rng), answer) for question, answer in lesson)
    for chance in EARLIER:
        if rng.random() < chance:
            found = (before.exchange(rng), *found)
    return found


def _respelled(question: str, rng: Random) -> str:
    if rng.random() >= RESPELLED:
        return question
    return question[:-1] if question[-1] in ENDS else question + rng.choice(ENDS)
