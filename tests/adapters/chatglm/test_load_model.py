"""A directory of this family through the door that all models take."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.golden_glm import DENSE, GOLDEN, QUANTISED, facts_of, needs_golden, tensors_of
from support.tiny_glm import logits

from danlu.adapters.errors import StartError
from danlu.adapters.models.exporting import export_model
from danlu.adapters.models.loading import LoadedModel, load_model

pytestmark = [pytest.mark.slow, needs_golden]


def a_directory(name: str, tmp_path: Path) -> Path:
    """A golden checkpoint with the original's tokenizer, and with code that must not be run."""
    path = Path(shutil.copytree(GOLDEN / name, tmp_path / "some-model"))
    shutil.copy(GOLDEN / "tokenizer" / "tokenizer.model", path)
    shutil.copy(GOLDEN / "tokenizer" / "tokenizer_config.json", path)
    for file in ("configuration", "modeling", "tokenization"):
        (path / f"{file}_chatglm.py").write_text("raise SystemExit('code was run')\n")
    return path


def load(path: Path, **more: int | bool | str) -> LoadedModel:
    return load_model(path, "cpu", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", [*DENSE, *QUANTISED])
def test_it_is_loaded_natively_whoever_trusts_its_code(
    name: str, trusted: bool, tmp_path: Path
) -> None:
    loaded = load(a_directory(name, tmp_path), trust_remote_code=trusted, dtype="float32")
    expected = tensors_of(name)
    if name in QUANTISED:
        ids, theirs = expected["input_ids"], expected["logits"]
    else:
        ids, theirs = torch.tensor([facts_of(name)["prompts"][4]]), expected["logits.4"]
    assert float((logits(loaded.model, ids)[0] - theirs).abs().max()) < 1e-4
    assert (loaded.context_length, loaded.vocabulary) == (512, 512)
    assert loaded.chatglm == (3 if name == "glm3" else 2)
    assert loaded.end_ids == {2}
    assert loaded.tokenizer.encode("你好") == [64790, 64792, 36474, 54591]
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_the_generation_can_be_decided(tmp_path: Path) -> None:
    path = a_directory("base", tmp_path)
    assert load(path, chatglm_generation=3).chatglm == 3


def test_a_tokenizer_that_was_cut_short_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    path = a_directory("base", tmp_path)
    file = path / "tokenizer.model"
    file.write_bytes(file.read_bytes()[:1000])
    seen: list[str] = []
    with pytest.raises(StartError, match=r"tokenizer\.model") as refusal:
        load_model(path, "cpu", report=lambda _, detail: seen.append(detail))
    assert "\n" not in str(refusal.value)
    assert "loading weights" not in seen


@pytest.mark.parametrize("generation", [2, 3])
def test_the_native_layout_remembers_what_it_was(tmp_path: Path, generation: int) -> None:
    path = a_directory("base", tmp_path)
    export_model(path, tmp_path / "native", chatglm_generation=generation)
    loaded = load(tmp_path / "native")
    assert loaded.chatglm == generation
    assert loaded.tokenizer.encode("你好") == [64790, 64792, 36474, 54591]
    other = 5 - generation
    with pytest.raises(StartError, match=f"--chatglm-generation {other} does not fit"):
        load(tmp_path / "native", chatglm_generation=other)


def test_an_interpolated_context_is_as_long_as_the_configuration_says(tmp_path: Path) -> None:
    path = a_directory("base", tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "rope_ratio": 4}))
    assert load(path).context_length == 512
    assert load(path, chatglm_generation=3).context_length == 512
