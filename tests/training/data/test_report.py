"""Everything that became of the records is counted, said and written down."""

import json
from io import StringIO
from pathlib import Path

import numpy as np

from danlu.training.data.dialogue import Bad, Dialogue, Origin, Turn
from danlu.training.data.prompts import Written
from danlu.training.data.report import BAD_FILE, NAMED, Report, Tally, bad_lines, save_counts
from danlu.training.sample import Sample

TURNS = (Turn("user", "q"), Turn("assistant", "a"))
SAMPLE = Sample(np.array([1, 2, 3, 4], np.int32), np.array([False, False, False, True]))


def origin(number: int) -> Origin:
    return Origin("data.jsonl", number + 1, number)


def bad(number: int, kind: str = "no answer") -> Bad:
    return Bad(origin(number), kind, f"it is bad “{number}”")


def good(number: int, *notes: str) -> Dialogue:
    return Dialogue(TURNS, origin(number), notes)


def reported(tally: Tally, written: StringIO, folder: Path) -> Report:
    save_counts(tally.counts, folder)
    (folder / BAD_FILE).write_text(written.getvalue(), encoding="utf-8")
    return Report(folder)


def test_what_was_counted_is_said_in_lines(tmp_path: Path) -> None:
    written = StringIO()
    tally = Tally(written)
    tally.counts.remarks.append("data.jsonl is odd")
    tally.good(good(1, "tools left out"), [Written(SAMPLE), Written(SAMPLE, 2, True, True)])
    tally.bad(bad(2))
    tally.good(good(3, "tools left out"), [Written(SAMPLE, 1)])
    assert reported(tally, written, tmp_path).lines == [
        "data.jsonl is odd",
        "2 of 3 records make 3 samples: 12 tokens, 3 of them trained (25%)",
        "tools left out: 2 records",
        "too long, without the oldest rounds: 2 samples",
        "too long, without the beginning of the question: 1 samples",
        "too long, without the end of the answer: 1 samples",
        "bad records: 1 (no answer 1)",
        "data.jsonl:3 (record 2): it is bad “2”",
    ]


def test_where_all_is_good_nothing_more_is_said(tmp_path: Path) -> None:
    tally = Tally(StringIO())
    tally.good(good(1), [Written(SAMPLE)])
    report = reported(tally, StringIO(), tmp_path)
    assert len(report.lines) == 1
    assert report.write(tmp_path) is None


def test_the_first_bad_records_are_named_and_the_others_counted() -> None:
    tally = Tally(StringIO())
    for number in range(NAMED + 5):
        tally.bad(bad(number, "no answer" if number % 2 else "wrong order"))
    first, *named, last = bad_lines(tally.counts)
    assert first == "bad records: 25 (wrong order 13, no answer 12)"
    assert named == [f"{origin(n).where}: it is bad “{n}”" for n in range(NAMED)]
    assert last == "and 5 more"


def test_every_bad_record_is_written_down(tmp_path: Path) -> None:
    written = StringIO()
    tally = Tally(written)
    for number in range(NAMED + 5):
        tally.bad(bad(number))
    tally.good(good(99), [Written(SAMPLE)])
    (tmp_path / "cache").mkdir()
    report = reported(tally, written, tmp_path / "cache")
    file = report.write(tmp_path)
    assert file == tmp_path / "bad-records.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == NAMED + 5
    assert lines[7] == {
        "file": "data.jsonl",
        "line": 8,
        "record": 7,
        "kind": "no answer",
        "reason": "it is bad “7”",
    }
