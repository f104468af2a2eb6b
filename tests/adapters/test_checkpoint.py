"""What lies at a model's path, good and broken."""

import json
from pathlib import Path

import pytest
import torch
from support.tiny import save_tiny
from support.tiny_glm import save_original

from danlu.adapters.errors import StartError
from danlu.adapters.models.checkpoint import checkpoint_at, weight_files


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


@pytest.mark.parametrize("places", [None, [1], {}, {"a": 1}])
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


@pytest.fixture
def chatglm(tmp_path: Path) -> Path:
    return save_original(tmp_path / "chatglm", shard_bytes=20_000)


def test_an_original_chatglm_is_a_sound_directory(chatglm: Path) -> None:
    assert checkpoint_at(chatglm).config["model_type"] == "chatglm"
    config = json.loads((chatglm / "config.json").read_text())
    for name in ("model_type", "auto_map", "architectures"):
        del config[name]
    (chatglm / "config.json").write_text(json.dumps(config))
    assert checkpoint_at(chatglm).config == config


@pytest.mark.parametrize("indexed", [True, False])
def test_a_pickled_shard_that_is_missing_is_named(chatglm: Path, indexed: bool) -> None:
    if not indexed:
        (chatglm / "pytorch_model.bin.index.json").unlink()
    shard = sorted(chatglm.glob("*.bin"))[1]
    shard.unlink()
    assert f"{shard} is missing, and pytorch_model" in complaint(chatglm)


@pytest.mark.parametrize("kept", [0, 2, 300, -1])
def test_a_pickled_shard_that_was_cut_short_is_named(chatglm: Path, kept: int) -> None:
    shard = sorted(chatglm.glob("*.bin"))[2]
    shard.write_bytes(shard.read_bytes()[:kept])
    assert complaint(chatglm) == f"{shard} was cut short; fetch it again"


def test_the_index_of_a_format_that_is_not_read_may_name_what_was_not_fetched(model: Path) -> None:
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert weight_files(model) == [model / "model.safetensors"]
    assert checkpoint_at(model).config["model_type"] == "llama"


def test_a_pickled_file_of_the_old_format_is_let_through(chatglm: Path) -> None:
    shard = sorted(chatglm.glob("*.bin"))[0]
    tensors = torch.load(shard, weights_only=True)
    torch.save(tensors, shard, _use_new_zipfile_serialization=False)
    assert checkpoint_at(chatglm).path == chatglm
