"""Files of records are understood by what is in them, and a fault costs no more than its record."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.training.data.dialogue import Bad, Dialogue
from danlu.training.data.reading import LIKENESS, dialogues
from danlu.training.data.scanning import LONGEST_RECORD, Fault, Scanner, Value, Window


def asked(question: str, answer: str = "好") -> dict[str, Any]:
    return {"instruction": question, "output": answer}


def talk(question: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "好"}]
    return {"id": question, "conversations": turns}


def turned(question: str) -> dict[str, Any]:
    """The list of turns before all that is no text."""
    return {"conversations": talk(question)["conversations"], "more": {"score": [1]}}


THREE = [asked("一"), talk("二"), asked("three")]
QUESTIONS = ["一", "二", "three"]
Read = Callable[[str | bytes], list[Dialogue | Bad]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: str | bytes) -> list[Dialogue | Bad]:
        file = tmp_path / "data"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(dialogues(file, say=print))

    return read


def questions(found: list[Dialogue | Bad]) -> list[str]:
    """The questions of good records, and the reasons of bad ones in brackets."""
    return [f"[{f.reason}]" if isinstance(f, Bad) else f.turns[-2].content for f in found]


def lines(found: list[Dialogue | Bad]) -> list[tuple[int, int]]:
    return [(f.origin.line, f.origin.number) for f in found]


def dumped(indent: int | None = None, *, ascii_only: bool = False) -> str:
    return json.dumps(THREE, indent=indent, ensure_ascii=ascii_only)


JSONL = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in THREE)
FORMS = {
    "JSONL": JSONL,
    "JSONL without a last line end": JSONL.rstrip(),
    "JSONL with Windows' line ends": JSONL.replace("\n", "\r\n"),
    "JSONL with blank lines": "\n\n" + JSONL.replace("\n", "\n\n"),
    "JSONL with commas": JSONL.replace("\n", ",\n"),
    "a list": dumped(),
    "a list over many lines": dumped(2),
    "a list, a line each": "[\n" + ",\n".join(JSONL.splitlines()) + "\n]\n",
    "an object with a list": '{"version": "1", "n": -2.5, "data": ' + dumped() + ', "more": [1]}',
    "the same over many lines": json.dumps({"data": THREE}, indent=1),
    "objects over many lines": "\n".join(json.dumps(record, indent=2) for record in THREE),
    "the same, tools first": "\n".join(
        json.dumps({"tools": [{"name": "f"}], **talk(q)}, indent=2) for q in QUESTIONS
    ),
    "the same, turns first": "\n".join(json.dumps(turned(q), indent=2) for q in QUESTIONS),
    "a list in ASCII": dumped(ascii_only=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_file_is_told_by_its_content(read: Read, form: str) -> None:
    assert questions(read(FORMS[form])) == QUESTIONS


def test_an_object_over_many_lines_is_one_record(read: Read) -> None:
    found = read(json.dumps(talk("一"), indent=2))
    assert questions(found) == ["一"]
    assert lines(found) == [(1, 1)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
@pytest.mark.parametrize("form", ["JSONL", "a list over many lines"])
def test_the_encoding_is_told_by_the_content(read: Read, form: str, encoding: str) -> None:
    assert questions(read(FORMS[form].encode(encoding))) == QUESTIONS


def test_gb18030_is_a_guess_that_is_told(tmp_path: Path) -> None:
    file, said = tmp_path / "data", list[str]()
    file.write_bytes(JSONL.encode("gb18030"))
    list(dialogues(file, say=said.append))
    assert said == [f"{file} is no UTF-8; it is read as gb18030"]


def test_utf8_with_a_wrong_byte_is_still_utf8(read: Read) -> None:
    whole = [*THREE, asked("wrong")]
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in whole)
    found = read(content.encode().replace(b"wrong", "错".encode("gb18030")))
    assert questions(found)[:3] == QUESTIONS
    assert "bytes that are no text at character 1" in questions(found)[3]


def test_ascii_with_escapes_and_wrong_bytes_is_not_taken_for_gb18030(read: Read) -> None:
    content = json.dumps([*THREE, asked("wrong")]).encode()
    found = read(content.replace(b"wrong", "错".encode("gb18030")))
    assert questions(found)[:3] == QUESTIONS
    assert "bytes that are no text" in questions(found)[3]


def test_a_wrong_byte_in_gb18030_costs_its_record(read: Read) -> None:
    content = (JSONL + json.dumps(asked("wrong")) + "\n") * 5
    found = read(content.encode("gb18030").replace(b"wrong", b"\xff", 1))
    assert questions(found)[:3] == QUESTIONS
    assert "bytes that are no text" in questions(found)[3]
    assert questions(found)[4:7] == QUESTIONS


BROKEN = {
    "no JSON at all": "what is this",
    "cut off": '{"instruction": "a", "outp',
    "a quote in a text": '{"instruction": "a", "output": "say "a" twice"}',
    "a brace missing": '{"conversations": [{"from": "human", "value": "a"}], "id": 1',
    "a bracket missing": '{"conversations": [{"from": "human", "value": "a"}}',
    "a text that is not ended": '{"instruction": "a", "output": "b}',
    "Python": "{'instruction': 'a', 'output': 'b'}",
    "a bare word": '{"instruction": a, "output": "b"}',
    "a key missing": '{"instruction": "a", : "b"}',
    "braces only": "{{{",
    "a huge number": '{"instruction": %s}' % ("9" * 5000),
    "nested deep": '{"instruction": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "null": "null",
    "a number": "12",
    "a text": '"a"',
    "a list": '[["a"], "b"]',
    "turns alone": '[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]',
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_broken_line_is_named_and_costs_no_other(read: Read, broken: str, place: int) -> None:
    content = JSONL.splitlines()
    content.insert(place, BROKEN[broken])
    found = read("\n".join(content))
    good = questions([f for f in found if isinstance(f, Dialogue)])
    assert good == QUESTIONS
    assert lines([f for f in found if isinstance(f, Bad)]) == [(place + 1, place + 1)]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_broken_record_of_a_list_is_named_and_costs_no_other(
    read: Read, broken: str, place: int
) -> None:
    content = JSONL.splitlines()
    content.insert(place, BROKEN[broken])
    found = read("[\n" + ",\n".join(content) + "\n]")
    good = questions([f for f in found if isinstance(f, Dialogue)])
    assert good == QUESTIONS
    assert lines([f for f in found if isinstance(f, Bad)]) == [(place + 2, place + 1)]


def test_two_broken_records_in_a_row_are_two(read: Read) -> None:
    broken = BROKEN["a quote in a text"]
    content = [*JSONL.splitlines()[:2], broken, broken, JSONL.splitlines()[2]]
    found = read("[\n" + ",\n".join(content) + "\n]")
    assert questions([f for f in found if isinstance(f, Dialogue)]) == QUESTIONS
    assert lines([f for f in found if isinstance(f, Bad)]) == [(4, 3), (5, 4)]


def test_where_each_record_has_a_line_every_broken_one_is_named(read: Read) -> None:
    content = [*JSONL.splitlines(), BROKEN["cut off"], "no record", *JSONL.splitlines()]
    found = read("[\n" + ",\n".join(content) + "\n]")
    assert questions([f for f in found if isinstance(f, Dialogue)]) == QUESTIONS * 2
    assert lines([f for f in found if isinstance(f, Bad)]) == [(5, 4), (6, 5)]


def test_a_list_that_ends_too_early_is_read_to_its_end_and_told(read: Read) -> None:
    first, second, third = JSONL.splitlines()
    found = read(f"[{first}, {second}], {third}]")
    assert questions(found) == [*QUESTIONS, "[']' stands outside of every list and object]"]


@pytest.mark.parametrize("content", ["", " \n\n", "[]", "{}\n[]\n"])
def test_what_has_no_record_has_no_dialogue(read: Read, content: str) -> None:
    assert not [f for f in read(content) if isinstance(f, Dialogue)]


def test_what_is_no_text_is_refused_by_name(read: Read) -> None:
    with pytest.raises(StartError, match=r"data is compressed \(gzip\); unpack it first"):
        read(b"\x1f\x8b\x08\x00")
    with pytest.raises(StartError, match="data is Parquet; write its records as JSON"):
        read(b"PAR1\x15\x04")
    with pytest.raises(StartError, match="data is damaged: 'utf-16"):
        read(JSONL.encode("utf-16")[:-1])
    with pytest.raises(StartError, match="Is a directory"):
        list(dialogues(Path(__file__).parent, say=print))


def test_a_line_longer_than_any_record_is_passed_over(read: Read) -> None:
    found = read(JSONL + "{" + "x" * (2 * LONGEST_RECORD) + "\n" + JSONL)
    reason = f"[the line has more than {LONGEST_RECORD} characters]"
    assert questions(found) == [*QUESTIONS, reason, *QUESTIONS]
    assert lines(found)[4] == (5, 5)


def test_a_record_of_a_list_longer_than_any_is_passed_over(read: Read) -> None:
    content = json.dumps([*THREE, asked("x" * (LONGEST_RECORD + 10)), *THREE])
    found = read(content)
    reason = f"[it does not end within {LONGEST_RECORD} characters]"
    assert questions(found) == [*QUESTIONS, reason, *QUESTIONS]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
SPECIAL = st.text(st.sampled_from('{}[]",:\\\n id'), min_size=1, max_size=12)


@given(
    questions=st.lists(TEXTS | SPECIAL, min_size=1, max_size=8),
    indent=st.sampled_from([None, 0, 2]),
    size=st.integers(1, 70),
)
def test_a_list_is_read_as_json_reads_it_however_it_comes(
    questions: list[str], indent: int | None, size: int
) -> None:
    records = [asked(question) for question in questions]
    content = json.dumps(records, indent=indent, ensure_ascii=False)
    assert scanned(content, size) == [
        Value(line, record) for line, record in placed(content, records)
    ]


@given(st.lists(TEXTS | SPECIAL, min_size=1, max_size=5), st.data(), st.integers(1, 70))
def test_a_list_that_is_cut_off_keeps_all_that_is_whole(
    questions: list[str], data: st.DataObject, size: int
) -> None:
    records = [asked(question) for question in questions]
    content = json.dumps(records)
    end = data.draw(st.integers(1, len(content) - 1))
    ends = [len(json.dumps(records[: n + 1])) - 1 for n in range(len(records))]
    *whole, last = scanned(content[:end], size)
    assert [each.value for each in whole if isinstance(each, Value)] == records[: len(whole)]
    assert len(whole) == sum(1 for each in ends if each <= end)
    assert isinstance(last, Fault)


@pytest.mark.slow
@given(st.lists(TEXTS | SPECIAL, min_size=2, max_size=5), st.data(), SPECIAL, st.integers(1, 70))
def test_damage_to_one_record_costs_no_record_before_it_and_none_but_the_next(
    questions: list[str], data: st.DataObject, damage: str, size: int
) -> None:
    """What is put in may begin a text that ends in the next record, as the next one's begins."""
    written = [json.dumps(asked(question)) for question in questions]
    hit = data.draw(st.integers(0, len(written) - 1))
    place = data.draw(st.integers(0, len(written[hit])))
    damaged = [*written]
    damaged[hit] = written[hit][:place] + damage + written[hit][place:]
    found = scanned("[" + ",\n".join(damaged) + "]", size)
    values = [json.dumps(each.value) for each in found if isinstance(each, Value)]
    assert values[:hit] == written[:hit]
    after = written[hit + 1 :]
    assert not after or values[-len(after) :] == after


def scanned(content: str, size: int) -> list[Value | Fault]:
    """The values of a list that comes `size` characters at a time."""
    text = StringIO(content)
    window = Window(lambda _: text.read(size))
    assert window.next() == "["
    window.at += 1
    return list(Scanner(window, LIKENESS, inside=True, alone=True))


def placed(content: str, records: list[Any]) -> Iterator[tuple[int, Any]]:
    """Each record with the line that it begins in."""
    at = 1
    for record in records:
        at = content.index("{", at)
        yield content.count("\n", 0, at) + 1, record
        at = json.JSONDecoder().raw_decode(content, at)[1]
