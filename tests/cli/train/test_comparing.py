"""`danlu train compare`: answers of a model and of what was made of it, side by side."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.heart import HELLO, by_heart
from support.tiny_glm import save_original

from danlu.adapters.errors import StartError
from danlu.cli.__main__ import command
from danlu.cli.train.comparing import holds_adapter, table
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


@pytest.mark.slow
def test_two_models_answer_one_after_the_other(
    tmp_path: Path, chatglm2_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_original(tmp_path / "base")
    command(
        ["train", "compare", "--model-path", str(base), "--tuned", str(chatglm2_dir)]
        + ["--question", HELLO, "--max-new-tokens", "16", "--device", "cpu", "--kv-memory", "0.1"]
    )
    shown = "".join(capsys.readouterr().out.split())
    assert by_heart(HELLO)[:8] in shown
