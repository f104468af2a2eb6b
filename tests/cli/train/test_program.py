"""`danlu train WORD`: which word leads where."""

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.__main__ import command


@pytest.mark.parametrize("word", ["inspect", "compare", "merge"])
def test_each_word_lists_flags_of_its_own(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command(["train", word, "--help"])
    assert end.value.code == 0
    assert f"usage: danlu train {word}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["inspect"], "give --model-path DIR, whose tokenizer it is, and --data-path FILE"),
        (["compare", "--model-path", "M"], "give --model-path DIR, the model, and --tuned DIR"),
        (["compare", "--model-path", "M", "--tuned", "T"], "give --question TEXT, or --questions"),
        (["merge", "--model-path", "M", "--out", "O"], "give --model-path DIR, --adapter DIR, and"),
        (["--model-path", "M"], "give --data_path FILE, --output_dir DIR"),
        (["explain"], "unrecognized arguments: explain"),
    ],
)
def test_what_is_missing_is_said(argv: list[str], sentence: str) -> None:
    with pytest.raises(StartError) as caught:
        command(["train", *argv])
    assert sentence in str(caught.value)
