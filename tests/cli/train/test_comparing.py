"""`danlu train compare`: answers of a model and of what was made of it, side by side."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.heart import HELLO, by_heart
from support.tuned import adapters_for

from danlu.adapters.errors import StartError
from danlu.cli.__main__ import command
from danlu.cli.train.comparing import CompareSettings, holds_adapter, questions_of, table
from danlu.cli.train.questions import Question


def _printed(*asked: Question) -> str:
    console = Console(width=72, file=io.StringIO())
    count = len(asked)
    console.print(table(asked, ["[bold]old[/]"] * count, ["new"] * count))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_both_answers_stand_beside_the_question_as_they_are() -> None:
    shown = _printed(Question("q"))
    assert [word for word in shown.split() if word.isalpha()] == [
        "question", "before", "after", "q", "new"
    ]  # fmt: skip
    assert "[bold]old[/]" in shown


def test_the_datas_answer_has_a_column_where_it_is_known() -> None:
    assert "data" not in _printed(Question("q"))
    shown = _printed(Question("q", "known"), Question("r"))
    assert "data" in shown and "known" in shown


def test_questions_that_are_given_come_before_those_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("three\nfour\n")
    settings = CompareSettings(
        question=("one, or", "two"), questions=str(tmp_path / "q.txt"), count=1
    )
    asked = [question.text for question in questions_of(settings)]
    assert asked == ["one, or", "two", "three"]


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("adapter_config.json", {}, True),
        ("config.json", {"pre_seq_len": 8}, True),
        ("config.json", {"pre_seq_len": None}, False),
        ("config.json", {}, False),
        ("other.json", {}, False),
    ],
)
def test_an_adapter_is_told_from_a_model(
    tmp_path: Path, file: str, content: dict[str, object], found: bool
) -> None:
    (tmp_path / file).write_text(json.dumps(content))
    assert holds_adapter(tmp_path) is found


def test_a_model_that_is_not_there_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="does not exist"):
        command(
            ["train", "compare", "--model-path", str(tmp_path / "m"), "--tuned", str(tmp_path)]
            + ["--question", "q"]
        )


def _compared(base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> str:
    where = ["--model-path", str(base), "--tuned", str(tuned), "--question", HELLO]
    command(["train", "compare", *where, "--device", "cpu", "--kv-memory", "0.1"])
    return "".join(letter for letter in capsys.readouterr().out if letter.isalnum())


@pytest.mark.slow
def test_an_adapter_its_sum_and_its_base_answer_side_by_side(
    tmp_path: Path, chatglm2_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, merged = adapters_for(chatglm2_dir, tmp_path) / "shouter", tmp_path / "merged"
    before = "".join(letter for letter in by_heart(HELLO) if letter.isalnum())
    shown = _compared(chatglm2_dir, adapter, capsys)
    assert before[:8] in shown
    command(
        ["train", "merge", "--model-path", str(chatglm2_dir), "--adapter", str(adapter)]
        + ["--out", str(merged)]
    )
    assert capsys.readouterr().out == f"{merged} has the model with {adapter} in it\n"
    assert _compared(chatglm2_dir, merged, capsys) == shown
