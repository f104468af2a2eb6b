"""What one record of the data says: turns that can be trained on, or why there are none. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

LARGEST_TURN = 1_000_000  # bytes of UTF-8; a turn that reaches it was not meant to be one
UNDECODED = re.compile("[\udc80-\udcff]")  # what Python makes of a byte that is no text


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stands: its number among the file's records and the line it begins in, from 1.

    `where` is how both are written for a reader.
    """

    file: str
    line: int
    number: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line} (record {self.number})"


@dataclass(frozen=True, slots=True)
class Turn:
    """`role` is system, user or assistant. An answer that is not `trained` is only read."""

    role: str
    content: str
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A system turn or none, then questions and answers in turns, an answer last.

    `notes` say what of the record was left out.
    """

    turns: tuple[Turn, ...]
    origin: Origin
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that is not trained on. `kind` is the same for all that have the same fault."""

    origin: Origin
    kind: str
    reason: str


class Unusable(Exception):
    """A record cannot be trained on; `kind` is its fault, the sentence is for its author."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def dialogue(turns: Sequence[Turn], origin: Origin, notes: Sequence[str] = ()) -> Dialogue:
    """The turns as one dialogue; raises Unusable for what cannot be one.

    A first answer to no question is left out, as FastChat does, and so is a last question that
    nothing answers. An empty system turn is as good as none.
    """
    found = list(notes)
    system = [turn for turn in turns[:1] if turn.role == "system"]
    rest = list(turns[len(system) :])
    first = 1 + len(system)  # of the rest's turns
    system = [turn for turn in system if turn.content.strip()]
    for number, turn in enumerate([*system, *rest], first - len(system)):
        check_text(turn.content, f"turn {number}")
    if rest and rest[0].role == "assistant":
        del rest[0]
        found.append("first answer without a question left out")
    _check_order(rest, first=len(turns) - len(rest) + 1)
    if rest and rest[-1].role == "user":
        del rest[-1]
        found.append("last question without an answer left out")
    if not rest:
        raise Unusable("no answer", "no turn of it is an answer to a question")
    if not any(turn.trained for turn in rest if turn.role == "assistant"):
        raise Unusable("no answer to train", "all of its answers have weight 0")
    return Dialogue((*system, *rest), origin, tuple(found))


def last_only(whole: Dialogue) -> Dialogue:
    """The dialogue of which only the last answer is trained; raises Unusable where it must not."""
    *before, last = whole.turns
    if not last.trained:
        raise Unusable("no answer to train", "its last answer has weight 0")
    earlier = (replace(turn, trained=False) for turn in before)
    return replace(whole, turns=(*earlier, last))


def check_text(text: str, what: str) -> None:
    """Raises Unusable where nobody can have meant `text`."""
    if not text.strip():
        raise Unusable("empty turn", f"{what} is empty")
    if "\0" in text:
        raise Unusable("undecodable text", f"{what} holds a NUL character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        fault = "bytes that are no text" if UNDECODED.search(text) else "half a surrogate pair"
        raise Unusable(
            "undecodable text", f"{what} holds {fault} at character {exc.start + 1}"
        ) from None
    if size >= LARGEST_TURN:
        raise Unusable(
            "turn too large",
            f"{what} has {size / 1e6:.1f} MB; a turn has less than {LARGEST_TURN / 1e6:.0f} MB",
        )


def _check_order(turns: Sequence[Turn], first: int) -> None:
    for number, turn in enumerate(turns, first):
        expected = ("user", "assistant")[(number - first) % 2]
        if turn.role == "system":
            raise Unusable("wrong order", f"turn {number} is a system turn; only the first may be")
        if turn.role != expected:
            raise Unusable(
                "wrong order",
                f"turns {number - 1} and {number} are both the {turn.role}'s; they must take turns",
            )
