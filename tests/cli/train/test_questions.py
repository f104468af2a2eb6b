"""Questions from a file of lines or of records."""

import json
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.train.questions import Question, questions_in


def test_every_line_with_text_is_a_question(tmp_path: Path) -> None:
    file = tmp_path / "q.txt"
    file.write_text("\ufeff你好\n\n  Who, or what, are you? \nleft out\n")
    assert questions_in(file, 2) == [Question("你好"), Question("Who, or what, are you?")]


def test_a_record_is_asked_its_first_question_and_knows_the_answer(tmp_path: Path) -> None:
    record = {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "好"}]}
    file = tmp_path / "q.jsonl"
    lines = [json.dumps(record), '{"conversations": "broken"}', json.dumps(record)]
    file.write_text("\n".join(lines))
    assert questions_in(file, 10) == [Question("你好", "好")] * 2


@pytest.mark.parametrize("text", ["", " \n", "{}\n"])
def test_a_file_without_a_question_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "q.txt"
    file.write_text(text)
    with pytest.raises(StartError, match=r"--questions .*q.txt holds no question"):
        questions_in(file, 1)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be read: No such file"):
        questions_in(tmp_path / "q.txt", 1)
