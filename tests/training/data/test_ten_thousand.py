"""Ten thousand records, one in twenty broken: the others are samples, and each of it is named."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.glm import glm_tokenizer

from danlu.training.data.store import samples_of
from danlu.training.settings import TrainingSettings

RECORDS, BROKEN = 10_000, 500

Line = bytes


def dumped(record: object) -> Line:
    return json.dumps(record, ensure_ascii=False).encode()


def talk(*said: tuple[Any, Any], key: str = "conversations") -> dict[str, Any]:
    names = ("from", "value") if key == "conversations" else ("role", "content")
    return {key: [dict(zip(names, turn, strict=True)) for turn in said]}


GOOD: tuple[Callable[[str], dict[str, Any]], ...] = (
    lambda q: {"id": q, **talk(("human", q), ("gpt", "早上好"), ("human", "And?"), ("gpt", q))},
    lambda q: talk(("system", "Be kind."), ("user", q), ("assistant", "好"), key="messages"),
    lambda q: {"instruction": q, "input": "cats", "output": "dogs"},
    lambda q: {"prompt": q, "completion": "It's fine."},
    lambda q: {"prompt": q, "response": "炉子", "history": [["丹", "炉"]]},
    lambda q: {"content": q, "summary": "公园"},
)
ANSWERS = (2, 1, 1, 1, 2, 1)

BAD: dict[str, Callable[[str], Line]] = {
    "broken JSON, cut": lambda q: dumped(talk(("human", q), ("gpt", "a")))[:-9],
    "broken JSON, a quote": lambda q: b'{"instruction": "a "word" b", "output": "c"}',
    "broken JSON, no JSON": lambda q: b"human: hello",
    "broken JSON, Python": lambda q: b"{'prompt': 'a', 'response': None}",
    "broken JSON, a brace too many": lambda q: b'{"prompt": {"a", "response": "b"}',
    "wrong order, questions": lambda q: dumped(talk(("human", q), ("human", q), ("gpt", "a"))),
    "wrong order, answers": lambda q: dumped(talk(("human", q), ("gpt", q), ("gpt", "a"))),
    "wrong order, system": lambda q: dumped(talk(("human", q), ("system", q), ("gpt", "a"))),
    "unknown role": lambda q: dumped(talk(("user", q), ("tool", "a"), key="messages")),
    "empty turn, question": lambda q: dumped(talk(("human", ""), ("gpt", q))),
    "empty turn, answer": lambda q: dumped({"instruction": q, "output": " \n"}),
    "turn too large": lambda q: dumped({"prompt": q, "response": "x" * 1_000_000}),
    "undecodable text, bytes": lambda q: dumped({"prompt": q, "response": "错"}).replace(
        "错".encode(), "错".encode("gb18030")
    ),
    "undecodable text, a surrogate": lambda q: b'{"prompt": "a", "response": "\\ud83d"}',
    "undecodable text, NUL": lambda q: dumped({"prompt": q, "response": "a\0b"}),
    "missing key, value": lambda q: dumped({"conversations": [{"from": "human"}]}),
    "unknown form, no output": lambda q: dumped({"instruction": q, "input": ""}),
    "unknown form, text": lambda q: dumped({"text": q}),
    "wrong type, null": lambda q: dumped({"conversations": None}),
    "wrong type, number": lambda q: dumped({"instruction": q, "output": 42}),
    "wrong type, list": lambda q: dumped({"conversations": [[{"from": "human", "value": q}]]}),
    "wrong type, content": lambda q: dumped(talk(("user", {"a": q}), key="messages")),
    "no object, null": lambda q: b"null",
    "no object, a list": lambda q: dumped([[q], [q]]),
    "no object, a number": lambda q: b"3.5",
    "no answer": lambda q: dumped(talk(("human", q))),
    "no answer, no turns": lambda q: dumped({"conversations": []}),
}

FORMS: dict[str, tuple[bytes, bytes, bytes, int]] = {  # before, between, after, the first line
    "JSONL": (b"", b"\n", b"\n", 1),
    "list": (b"[\n", b",\n", b"\n]\n", 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_good_record_is_trained_and_every_bad_one_is_named(form: str, tmp_path: Path) -> None:
    chance = Random(6)
    broken = set(chance.sample(range(RECORDS), BROKEN))
    lines: list[Line] = []
    expected: dict[int, str] = {}  # the kind of fault in a line
    answers = 0
    before, between, after, first = FORMS[form]
    for at in range(RECORDS):
        question = f"What is in box {at}? " + "早上好" * chance.randrange(40)
        if at in broken:
            kind = list(BAD)[len(expected) % len(BAD)]
            lines.append(BAD[kind](question))
            expected[at + first] = kind.partition(",")[0]
        else:
            which = chance.randrange(len(GOOD))
            lines.append(dumped(GOOD[which](question)))
            answers += ANSWERS[which]
    file = tmp_path / "data"
    file.write_bytes(before + between.join(lines) + after)

    said: list[str] = []
    made = samples_of(
        TrainingSettings(),
        glm_tokenizer(),
        [str(file)],
        root=tmp_path / "cache",
        say=said.append,
    )
    named = made.report.write(tmp_path)
    assert named is not None
    found = [json.loads(line) for line in named.read_text(encoding="utf-8").splitlines()]
    assert {each["line"]: each["kind"] for each in found} == expected
    assert [each["record"] for each in found] == [line - first + 1 for line in sorted(expected)]
    assert (made.report.counts.records, made.report.counts.good) == (RECORDS, RECORDS - BROKEN)
    assert len(made.samples) == made.report.counts.samples == answers
    assert sum(f"{file}:" in line for line in made.report.lines) == 20
    assert made.report.lines[-1] == "and 480 more"
