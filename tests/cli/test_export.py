"""`danlu export`: what the command line asks for, and what is there afterwards."""

import json
from pathlib import Path

import pytest
from support.tiny_glm import save_original

from danlu.adapters.errors import StartError
from danlu.cli.export import main


@pytest.mark.parametrize("argv", [[], ["--model-path", "M"], ["--out", "O"]])
def test_a_model_and_a_place_are_wanted(argv: list[str]) -> None:
    with pytest.raises(StartError, match="give --model-path DIR.*--out DIR"):
        main(argv)


def test_a_layout_that_we_do_not_have() -> None:
    with pytest.raises(StartError, match="--layout wants one of native, original, not 'gguf'"):
        main(["--model-path", "M", "--out", "O", "--layout", "gguf"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "kind"), [("native", "glm"), ("original", "chatglm")], ids=["native", "original"]
)
def test_the_model_is_written_in_the_layout_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, kind: str
) -> None:
    source, out = save_original(tmp_path / "source"), tmp_path / "out"
    where = ["--model-path", str(source), "--out", str(out)]
    main([*where, "--layout", layout, "--dtype", "bfloat16", "--chatglm-generation", "3"])
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == kind
    assert "bfloat16" in (config.get("dtype"), config.get("torch_dtype"))
    assert (out / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    captured = capsys.readouterr()
    assert captured.out == f"{out} has the model in the {layout} layout\n"
    with pytest.raises(StartError, match="exists and is not empty"):
        main(where)
