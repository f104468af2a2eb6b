"""Prompts for a load: made from a fixed list of words, or read from a file. Pure but for the file.

Every made prompt begins differently, so that a server that keeps prompts gains nothing from it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...adapters.errors import StartError

# Common words, of which nearly every tokenizer makes one token each, with the blank before them.
TEXT = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea kid body information back "
    "parent face others level office door health person art war history party result change "
    "morning reason research girl guy moment air teacher force education"
)
WORDS = TEXT.split()


class Span:
    """A number, or a range from which numbers are drawn: `128` or `64-256`, both ends possible."""

    def __init__(self, text: str) -> None:
        low, dash, high = text.partition("-")
        try:
            self.low, self.high = int(low), int(high if dash else low)
        except ValueError:
            raise StartError(
                f"a number such as 128 or a range such as 64-256, not {text!r}"
            ) from None
        if not 1 <= self.low <= self.high:
            raise StartError(f"a range begins with 1 at least and rises; {text!r} does not")

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    def draw(self, chance: random.Random) -> int:
        return chance.randint(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks: a prompt, and the most tokens of an answer."""

    prompt: str
    tokens: int


def made(count: int, prompt: Span, output: Span, chance: random.Random) -> list[Question]:
    """`count` questions of about as many tokens as asked for: a word counts for one."""
    return [Question(words(prompt.draw(chance), chance), output.draw(chance)) for _ in range(count)]


def words(count: int, chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=count))


def asked(
    prompts: Sequence[str], count: int, output: Span, chance: random.Random
) -> list[Question]:
    """`count` questions with these prompts, in turn."""
    return [Question(prompts[i % len(prompts)], output.draw(chance)) for i in range(count)]


def prompts_of(path: Path) -> list[str]:
    """The lines of a file that are not empty; raises StartError."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8 text"
        raise StartError(f"--prompts {path} cannot be read: {reason}") from exc
    if not lines:
        raise StartError(f"--prompts {path} is empty; put one prompt on each line")
    return lines
