"""Questions from a file: lines of text, or the records that a training reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ...adapters.errors import StartError


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` is the data's own, empty where it is not known."""

    text: str
    answer: str = ""


def questions_in(path: Path, count: int) -> list[Question]:
    """The first `count` of them; raises StartError for a file that has none."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            lines = [line.strip() for line in islice(filter(str.strip, file), count)]
    except OSError as exc:
        raise StartError(f"--questions {path} cannot be read: {exc.strerror}") from exc
    if lines and lines[0][0] in "[{":
        found = list(islice(_of_records(path), count))
    else:
        found = [Question(line) for line in lines]
    if not found:
        raise StartError(f"--questions {path} holds no question")
    return found


def _of_records(path: Path) -> Iterator[Question]:
    """Of each record the first question and its answer; records that are bad are passed over."""
    from ...training.data.dialogue import Dialogue
    from ...training.data.reading import dialogues

    for record in dialogues(path, say=print):
        if isinstance(record, Dialogue):
            (question, answer) = [turn for turn in record.turns if turn.role != "system"][:2]
            yield Question(question.content, answer.content)
