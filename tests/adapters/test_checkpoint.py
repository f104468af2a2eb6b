"""What lies at a model's path, good and broken."""

import json
from pathlib import Path

import pytest
from support.tiny import save_tiny

from danlu.adapters.errors import StartError
from danlu.adapters.models.checkpoint import checkpoint_at


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def complaint(path: Path) -> str:
    with pytest.raises(StartError) as info:
        checkpoint_at(path)
    assert "\n" not in str(info.value)
    return str(info.value)


def test_a_sound_directory_is_known_by_its_files(model: Path) -> None:
    found = checkpoint_at(model)
    assert (found.gguf, found.config["model_type"]) == (False, "llama")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist; give the directory" in complaint(tmp_path / "nothing")


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGML")
    assert "is a file but no GGUF" in complaint(tmp_path / "model.gguf")


def test_a_directory_without_a_configuration(tmp_path: Path) -> None:
    assert "it has no config.json" in complaint(tmp_path)


def test_a_directory_that_holds_a_gguf_is_told_which(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    assert "it holds tiny.gguf: give that file" in complaint(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_configuration_that_is_none(model: Path, content: str) -> None:
    (model / "config.json").write_text(content)
    assert "config.json" in complaint(model)


@pytest.mark.parametrize("field", ["model_type", "auto_map", "architectures"])
def test_a_configuration_whose_fields_are_damaged(model: Path, field: str) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "llama", field: 5}))
    assert f"config.json is damaged: its '{field}' is 5" in complaint(model)


def test_a_field_that_is_null_is_one_that_is_not_there(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "llama", "auto_map": None}))
    assert not checkpoint_at(model).gguf


def test_a_directory_without_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "has no weights" in complaint(model)


def test_a_shard_that_is_missing_is_named(model: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors is missing" in complaint(model)


@pytest.mark.parametrize("places", [None, [1], {"a": 1}])
def test_an_index_that_names_no_files(model: Path, places: object) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert "model.safetensors.index.json names no files of weights" in complaint(model)


def test_a_path_that_the_system_refuses(model: Path) -> None:
    assert "cannot be read: File name too long" in complaint(Path("a" * 5000))
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").mkdir()
    assert "cannot be read: Is a directory" in complaint(model)


@pytest.mark.parametrize("kept", [0, 5, 8, 300, -1])
def test_weights_that_were_cut_short_are_named(model: Path, kept: int) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    words = complaint(model)
    assert "model.safetensors" in words
    assert "fetch it again" in words


def test_a_directory_without_a_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert "has no tokenizer" in complaint(model)
