"""The tiny ChatGLM2 in the cache: trained once for what it is made from."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.demo_chatglm2 import MADE_FROM, NAME, chatglm2_model, digest
from danlu.cli.running import Done, Hear


class Trainer:
    """Stands for the program that trains; `runs` counts how often."""

    def __init__(self, status: int = 0) -> None:
        self._status = status
        self.runs = 0

    def run(self, argv: Sequence[str], seconds: float, hear: Hear) -> Done:
        assert argv[1:3] == ["-m", "danlu.cli.tiny_chatglm2"]
        self.runs += 1
        Path(argv[3]).mkdir(parents=True)
        hear("step 50 of 400")
        return Done(argv, self._status, "step 50 of 400\nit forgets\n", "")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "dialogues.json").write_text("[]", encoding="utf-8")
    (folder / "making.py").write_text("STEPS = 1\n", encoding="utf-8")
    return folder


def made(root: Path, trainer: Trainer, recipe: Path) -> Path:
    return chatglm2_model(root, say=lambda _: None, run=trainer.run, made_from=[recipe])


def test_it_is_trained_once_and_instant_afterwards(tmp_path: Path, recipe: Path) -> None:
    trainer = Trainer()
    first = made(tmp_path, trainer, recipe)
    assert first.is_dir()
    assert first.name == NAME  # which it is served under
    assert made(tmp_path, trainer, recipe) == first
    assert trainer.runs == 1


@pytest.mark.parametrize("file", ["dialogues.json", "making.py", "another.py"])
def test_it_is_trained_anew_when_anything_that_it_is_made_from_changes(
    tmp_path: Path, recipe: Path, file: str
) -> None:
    trainer = Trainer()
    first = made(tmp_path, trainer, recipe)
    (recipe / file).write_text("[[]]", encoding="utf-8")
    assert made(tmp_path, trainer, recipe) != first
    assert trainer.runs == 2


def test_what_python_leaves_beside_the_code_changes_nothing(recipe: Path) -> None:
    before = digest([recipe])
    (recipe / "__pycache__").mkdir()
    (recipe / "__pycache__" / "making.cpython-311.pyc").touch()
    assert digest([recipe]) == before


def test_everything_that_it_is_made_from_exists() -> None:
    assert [path for path in MADE_FROM if not path.exists()] == []
    assert digest(MADE_FROM) == digest(MADE_FROM)


def test_how_far_it_is_is_said(tmp_path: Path, recipe: Path) -> None:
    said: list[str] = []
    chatglm2_model(tmp_path, say=said.append, run=Trainer().run, made_from=[recipe])
    assert said[0].startswith("training a tiny ChatGLM2 (a minute or two, once)")
    assert said[1] == "step 50 of 400"


def test_a_training_that_fails_says_why_and_leaves_nothing(tmp_path: Path, recipe: Path) -> None:
    with pytest.raises(StartError, match="cannot be made: it forgets$"):
        made(tmp_path, Trainer(status=2), recipe)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["recipe"]
