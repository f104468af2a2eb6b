"""What became of the records: counted, and every bad one named."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO

from .dialogue import Bad, Dialogue
from .prompts import Written

Say = Callable[[str], None]

COUNTS_FILE, BAD_FILE = "report.json", "bad-records.jsonl"
NAMED = 20  # bad records that are named in the terminal


@dataclass(slots=True)
class Counts:
    """`bad` is by kind of fault, `notes` by what was left out of a record that is good."""

    records: int = 0
    good: int = 0
    samples: int = 0
    tokens: int = 0
    trained: int = 0
    rounds_cut: int = 0  # samples without their oldest rounds
    questions_cut: int = 0  # samples without their question's beginning
    answers_cut: int = 0  # samples without their answer's end
    bad: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)  # the first bad ones
    remarks: list[str] = field(default_factory=list)  # on whole files


class Tally:
    """Counts while samples are made, and writes every bad record down. Owned by the maker."""

    def __init__(self, bad_file: IO[str]) -> None:
        self.counts = Counts()
        self._file = bad_file

    def bad(self, bad: Bad) -> None:
        at = bad.origin
        self.counts.records += 1
        self.counts.bad[bad.kind] += 1
        if len(self.counts.named) < NAMED:
            self.counts.named.append(f"{at.where}: {bad.reason}")
        line = {"file": at.file, "line": at.line, "record": at.number, "reason": bad.reason}
        self._file.write(json.dumps({**line, "kind": bad.kind}, ensure_ascii=False) + "\n")

    def good(self, dialogue: Dialogue, samples: list[Written]) -> None:
        self.counts.records += 1
        self.counts.good += 1
        self.counts.notes.update(dialogue.notes)
        for one in samples:
            self.counts.samples += 1
            self.counts.tokens += len(one.sample.ids)
            self.counts.trained += int(one.sample.trained.sum())
            self.counts.rounds_cut += one.rounds > 0
            self.counts.questions_cut += one.question
            self.counts.answers_cut += one.answer


class Report:
    """What was counted, as it lies in the folder of the samples."""

    def __init__(self, folder: Path) -> None:
        self._bad = folder / BAD_FILE
        facts = json.loads((folder / COUNTS_FILE).read_text(encoding="utf-8"))
        counters = {name: Counter(facts[name]) for name in ("bad", "notes")}
        self.counts = Counts(**{**facts, **counters})

    @property
    def lines(self) -> list[str]:
        """For the terminal: the counts, and the first bad records by name."""
        counts = self.counts
        share = counts.trained / counts.tokens
        lines = [
            *counts.remarks,
            f"{counts.good} of {counts.records} records make {counts.samples} samples: "
            f"{counts.tokens} tokens, {counts.trained} of them trained ({share:.0%})",
        ]
        lines += [f"{what}: {number} records" for what, number in counts.notes.most_common()]
        cuts = {
            "the oldest rounds": counts.rounds_cut,
            "the beginning of the question": counts.questions_cut,
            "the end of the answer": counts.answers_cut,
        }
        lines += [f"too long, without {what}: {n} samples" for what, n in cuts.items() if n]
        return lines + bad_lines(counts)

    def write(self, folder: Path, name: str = BAD_FILE) -> Path | None:
        """Every bad record, one JSON object a line, in a file in `folder`; None if none is bad."""
        if not self.counts.bad:
            return None
        return Path(shutil.copyfile(self._bad, folder / name))


def bad_lines(counts: Counts) -> list[str]:
    """The first bad records by name, and how many there are of which kind."""
    if not counts.bad:
        return []
    kinds = ", ".join(f"{kind} {number}" for kind, number in counts.bad.most_common())
    rest = counts.bad.total() - len(counts.named)
    more = [f"and {rest} more"] if rest else []
    return [f"bad records: {counts.bad.total()} ({kinds})", *counts.named, *more]


def save_counts(counts: Counts, folder: Path) -> None:
    facts = {each.name: getattr(counts, each.name) for each in fields(counts)}
    text = json.dumps(facts, ensure_ascii=False)
    (folder / COUNTS_FILE).write_text(text, encoding="utf-8")
