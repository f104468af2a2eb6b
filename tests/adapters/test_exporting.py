"""Any model that is loaded is written anew."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import byte_level_tokenizer, save_tiny, tiny_model
from support.tiny_glm import logits, save_original, tiny_glm
from transformers import AutoModelForCausalLM, AutoTokenizer

from danlu.adapters.errors import StartError
from danlu.adapters.models.exporting import export_model

pytestmark = pytest.mark.slow


def read(path: Path) -> Any:
    kind: Any = AutoModelForCausalLM  # not annotated
    return kind.from_pretrained(path, dtype="auto", local_files_only=True)


def test_a_chatglm_goes_to_the_native_layout_and_back(tmp_path: Path) -> None:
    source = save_original(tmp_path / "source", shard_bytes=20_000)
    export_model(source, tmp_path / "native")
    assert torch.equal(logits(read(tmp_path / "native")), logits(tiny_glm()))
    export_model(tmp_path / "native", tmp_path / "back", original=True)
    ours = torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True)
    for file in source.glob("*.bin"):
        for name, tensor in torch.load(file, weights_only=True).items():
            assert torch.equal(ours.pop(name), tensor)
    assert ours == {}


def test_the_originals_code_goes_with_the_original_layout_alone(tmp_path: Path) -> None:
    source = save_original(tmp_path / "source")
    (source / "modeling_chatglm.py").write_text("raise SystemExit")
    export_model(source, tmp_path / "original", original=True)
    export_model(source, tmp_path / "native")
    assert (tmp_path / "original" / "modeling_chatglm.py").exists()
    assert not (tmp_path / "native" / "modeling_chatglm.py").exists()


def test_weights_keep_their_format_or_take_the_one_asked_for(tmp_path: Path) -> None:
    half: Any = tiny_glm().to(torch.bfloat16)  # type: ignore[arg-type]
    source = save_original(tmp_path / "source", half)
    export_model(source, tmp_path / "kept")
    export_model(source, tmp_path / "asked", dtype="float16")
    assert read(tmp_path / "kept").dtype == torch.bfloat16
    assert read(tmp_path / "asked").dtype == torch.float16


def test_the_generation_that_was_asked_for_is_noted(tmp_path: Path) -> None:
    export_model(save_original(tmp_path / "source"), tmp_path / "out", chatglm_generation=3)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["chatglm_generation"] == 3


def test_another_model_goes_to_the_native_layout(tmp_path: Path) -> None:
    export_model(save_tiny(tmp_path / "source"), tmp_path / "out")
    assert torch.equal(logits(read(tmp_path / "out")), logits(tiny_model()))
    tokenizer: Any = AutoTokenizer
    again = tokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert again.encode("早上好") == byte_level_tokenizer().encode("早上好")


def test_another_model_has_no_original_layout(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="source is no ChatGLM, and only these have an original"):
        export_model(save_tiny(tmp_path / "source"), tmp_path / "out", original=True)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(StartError, match="out exists and is not empty"):
        export_model(tmp_path / "nowhere", tmp_path / "out")


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_model(save_original(tmp_path / "source"), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_damaged_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    source = save_original(tmp_path / "source")
    file = source / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StartError, match=r"pytorch_model\.bin was cut short"):
        export_model(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.model", "source"]
