"""Prefixes as they lie on disk; what they compute is in tests/worker/test_mixed_batch.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.tiny_glm import tiny_glm
from support.tuned import lora_files, original_prefix, save_prefix

from danlu.adapters.errors import StartError
from danlu.adapters.models.tuned.adapter import Prefix
from danlu.adapters.models.tuned.reading import tuning_at

WIDTH = 2 * 2 * 2 * 8  # keys and values, layers, heads, channels


def read(path: Path) -> Prefix:
    found = tuning_at(path, tiny_glm())
    assert isinstance(found, Prefix)
    return found


@pytest.mark.parametrize("inner", [0, 5], ids=["plain", "through a projection"])
def test_keys_and_values_are_the_originals_layer_by_layer(tmp_path: Path, inner: int) -> None:
    keys, values = original_prefix(tmp_path / "p", 7, inner=inner)
    prefix = read(tmp_path / "p")
    assert (prefix.length, prefix.first) == (7, 0)
    assert torch.allclose(torch.stack(prefix.keys), keys, atol=1e-6)
    assert torch.allclose(torch.stack(prefix.values), values, atol=1e-6)


def test_half_precision_on_disk_is_read(tmp_path: Path) -> None:
    numbers = torch.randn(3, WIDTH).half()
    prefix = read(save_prefix(tmp_path / "p", {"embedding.weight": numbers}, pre_seq_len=3))
    assert torch.equal(prefix.values[1][1], numbers[:, -8:].float())


def test_the_text_after_a_prefix_of_pefts_goes_on_counting(tmp_path: Path) -> None:
    folder = lora_files(tmp_path / "p", {}, peft_type="PREFIX_TUNING", num_virtual_tokens=3)
    numbers = torch.randn(3, WIDTH)
    save_file({"prompt_embeddings": numbers}, folder / "adapter_model.safetensors")
    prefix = read(folder)
    assert (prefix.length, prefix.first) == (3, 3)
    assert torch.equal(prefix.keys[0][0], numbers[:, :8])


PLAIN = {"embedding.weight": torch.zeros(3, WIDTH)}


@pytest.mark.parametrize(
    ("tensors", "config", "words"),
    [
        (PLAIN, {"pre_seq_len": 4}, "its prefix is 3x64, and 4 tokens of .* take 4x64"),
        ({"embedding.weight": torch.zeros(3, 32)}, {}, "2 layers of 2 heads of 8 take 3x64"),
        (PLAIN, {"prefix_projection": True}, "lacks transformer.prefix_encoder.trans.0.bias, and"),
        ({**PLAIN, "trans.0.bias": torch.zeros(5)}, {}, "holds .*trans.0.bias, and .*=false"),
        ({"other": torch.zeros(3)}, {}, "lacks transformer.prefix_encoder.embedding.weight"),
        (PLAIN, {"pre_seq_len": "3"}, "pre_seq_len='3'; it must be a positive integer"),
        (PLAIN, {"pre_seq_len": 0}, "pre_seq_len=0; it must be a positive integer"),
    ],
)
def test_a_prefix_that_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any], words: str
) -> None:
    with pytest.raises(StartError, match=words):
        read(save_prefix(tmp_path / "p", tensors, **{"pre_seq_len": 3, **config}))


def test_a_projection_of_other_sizes_is_refused(tmp_path: Path) -> None:
    tensors = {**PLAIN, "trans.0.bias": torch.zeros(5), "trans.2.bias": torch.zeros(WIDTH)}
    tensors |= {"trans.0.weight": torch.zeros(5, 9), "trans.2.weight": torch.zeros(WIDTH, 5)}
    with pytest.raises(StartError, match="its projection does not fit"):
        read(save_prefix(tmp_path / "p", tensors, pre_seq_len=3, prefix_projection=True))


def test_a_whole_model_is_no_prefix(tmp_path: Path) -> None:
    folder = save_prefix(tmp_path / "p", PLAIN, pre_seq_len=3)
    whole = {"transformer.encoder.final_layernorm.weight": torch.zeros(32)}
    torch.save(whole, folder / "pytorch_model.bin")
    with pytest.raises(StartError, match="holds transformer.encoder.final_layernorm.weight, which"):
        read(folder)


def test_a_prefix_of_pefts_with_more_in_it_is_refused(tmp_path: Path) -> None:
    folder = lora_files(
        tmp_path / "p", {"more": torch.zeros(1)}, peft_type="PREFIX_TUNING", num_virtual_tokens=3
    )
    with pytest.raises(StartError, match="holds more; a prefix of peft's is prompt_embeddings"):
        read(folder)
