"""Original files into memory: whole, or one sentence and nothing."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.tiny_glm import DESCRIBED, logits, save_original, tiny_glm
from transformers import GlmForCausalLM

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.export import export_native
from danlu.adapters.models.chatglm.loading import load_chatglm
from danlu.adapters.models.chatglm.names import parts

pytestmark = pytest.mark.slow

SHARDS = 20_000  # bytes; the tiny model has several
EMBEDDING = "transformer.embedding.word_embeddings.weight"
DENSE = "transformer.encoder.layers.1.self_attention.dense.weight"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return save_original(tmp_path / "model", shard_bytes=SHARDS)


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return save_original(tmp_path / "model")


def config(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "config.json").read_text())
    return found


def load(path: Path, dtype: torch.dtype = torch.float32, **more: Any) -> GlmForCausalLM:
    return load_chatglm(path, config(path), "cpu", dtype, **more)


def complaint(path: Path) -> str:
    with pytest.raises(StartError) as refusal:
        load(path)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400
    return str(refusal.value)


def changed(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """The checkpoint with the tensors of its one file changed."""
    file = path / "pytorch_model.bin"
    tensors = torch.load(file, weights_only=True)
    change(tensors)
    torch.save(tensors, file)
    return path


def without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[name]

    return change


def same(ours: GlmForCausalLM, theirs: GlmForCausalLM) -> bool:
    pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("shard_bytes", [SHARDS, 2**30])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"groups": 4, "per_head": True},
        {"groups": 1},
        {"qkv_bias": False},
        {"head_size": 12},
        {"generation": 3, "rope_ratio": 50.0},
        {"rope_ratio": 4.0},
    ],
)
def test_what_was_written_is_read_again(
    tmp_path: Path, changes: dict[str, Any], shard_bytes: int
) -> None:
    model = tiny_glm(**changes)
    found = load(save_original(tmp_path / "model", model, shard_bytes=shard_bytes))
    assert same(found, model)
    assert torch.equal(logits(found), logits(model))
    assert not found.training


def test_safetensors_are_read_and_win_over_pickled_files(single: Path) -> None:
    save_file(
        torch.load(single / "pytorch_model.bin", weights_only=True), single / "model.safetensors"
    )
    (single / "pytorch_model.bin").write_bytes(b"PK\3\4 nothing")
    assert same(load(single), tiny_glm())


def test_shards_without_an_index_are_read_in_their_order(sharded: Path) -> None:
    (sharded / "pytorch_model.bin.index.json").unlink()
    assert same(load(sharded), tiny_glm())


def test_a_file_of_the_format_before_2020_is_read(single: Path) -> None:
    file = single / "pytorch_model.bin"
    tensors = torch.load(file, weights_only=True)
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    assert same(load(single), tiny_glm())


def test_the_native_layout_is_read_the_same_way(tmp_path: Path) -> None:
    model = tiny_glm(generation=3, rope_ratio=3.0)
    (tmp_path / "tokenizer.model").write_bytes(b"pieces")
    export_native(model, tmp_path / "tokenizer.model", tmp_path / "out", shard_bytes=SHARDS)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    found = load(tmp_path / "out")
    assert same(found, model)
    assert torch.equal(logits(found), logits(model))
    assert found.config.chatglm_generation == 3
    assert found.generation_config is not None and found.generation_config.temperature == 0.8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_come_in_the_format_asked_for_and_angles_in_full(
    single: Path, dtype: torch.dtype
) -> None:
    found = load(single, dtype)
    assert {p.dtype for p in found.parameters()} == {dtype}
    assert {b.dtype for b in found.buffers()} == {torch.float32}
    assert not any(t.is_meta for t in (*found.parameters(), *found.buffers()))


def test_weights_do_not_change_with_their_file(single: Path) -> None:
    found = load(single)
    file = single / "pytorch_model.bin"
    file.write_bytes(bytes(file.stat().st_size))
    assert same(found, tiny_glm())


@pytest.mark.parametrize(
    ("changes", "end_ids"),
    [({"generation": 2}, [2]), ({"generation": 3, "vocabulary": 65024}, [2, 64795, 64797])],
)
def test_it_generates_by_the_official_defaults(
    tmp_path: Path, changes: dict[str, Any], end_ids: list[int]
) -> None:
    how = load(save_original(tmp_path / "model", tiny_glm(**changes))).generation_config
    assert how is not None
    assert (how.do_sample, how.temperature, how.top_p, how.top_k) == (True, 0.8, 0.8, 50)
    assert (how.eos_token_id, how.pad_token_id) == (end_ids, 0)
    assert "max_length" not in how.to_diff_dict()


def test_the_flag_decides_what_the_ratio_means(tmp_path: Path) -> None:
    path = save_original(tmp_path / "model", tiny_glm(rope_ratio=4.0))
    ropes = [load(path, generation=g).config.rope_parameters or {} for g in (2, 3)]
    assert ropes[0]["factor"] == 4.0
    assert ropes[1]["rope_theta"] == 40_000.0


def test_progress_goes_up_to_the_end_on_the_calling_thread(sharded: Path) -> None:
    seen: list[tuple[float, int]] = []
    load(sharded, report=lambda fraction, _: seen.append((fraction, threading.get_ident())))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert len(set(fractions)) == len(parts(DESCRIBED)) + 1
    assert {thread for _, thread in seen} == {threading.get_ident()}


def quantised(path: Path, bits: int) -> Path:
    """The checkpoint as the original quantises it, with quantities that int8 and int4 can hold."""

    def pack(tensors: dict[str, torch.Tensor]) -> None:
        for name, part in parts(DESCRIBED).items():
            if part.quantised:
                top = 2 ** (bits - 1) - 1
                weight = tensors[name]
                scale = (weight.abs().amax(1) / top).half()
                rows = (weight / scale.float()[:, None]).round().clamp(-top, top).to(torch.int8)
                packed = (rows[:, ::2] << 4) | (rows[:, 1::2] & 15)
                tensors[name] = packed if bits == 4 else rows
                tensors[name + "_scale"] = scale

    changed(path, pack)
    facts = {**config(path), "quantization_bit": bits}
    (path / "config.json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize(("bits", "error"), [(8, 0.015), (4, 0.15)])
def test_quantised_weights_become_dense(single: Path, bits: int, error: float) -> None:
    found = load(quantised(single, bits), torch.bfloat16)
    for ours, theirs in zip(found.parameters(), tiny_glm().parameters(), strict=True):
        assert ours.dtype == torch.bfloat16
        assert torch.allclose(ours.float(), theirs, rtol=0, atol=error)


def test_half_of_a_quantised_weight_is_refused(single: Path) -> None:
    changed(quantised(single, 4), without(DENSE + "_scale"))
    assert f"has {DENSE} without {DENSE}_scale" in complaint(single)


def test_dense_weights_under_a_config_that_says_quantised_are_refused(single: Path) -> None:
    (single / "config.json").write_text(json.dumps({**config(single), "quantization_bit": 8}))
    assert "without" in complaint(single)


def test_quantised_weights_under_a_config_that_says_dense_are_refused(single: Path) -> None:
    changed(single, lambda tensors: tensors.update({DENSE: tensors[DENSE].to(torch.int8)}))
    assert f"{DENSE} is int8 [32, 32]; by config.json it is floating [32, 32]" in complaint(single)


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(single: Path, tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "executed"
    tensors = {EMBEDDING: torch.zeros(96, 32), "more": Payload(mark)}
    torch.save(tensors, single / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    words = complaint(single)
    assert "wants to call posix.mkdir, and code in a checkpoint is never run" in words
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload works where it is let"


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"model": {"a": torch.zeros(2)}}, {"a": 1}])
def test_a_file_that_holds_something_else_than_tensors(single: Path, content: Any) -> None:
    torch.save(content, single / "pytorch_model.bin")
    assert "pytorch_model.bin holds something else than tensors by name" in complaint(single)


@pytest.mark.parametrize("kept", [0, 3, 100, 4000, -1, -200])
def test_a_shard_that_was_cut_short(sharded: Path, kept: int) -> None:
    shard = sorted(sharded.glob("*.bin"))[1]
    shard.write_bytes(shard.read_bytes()[:kept])
    words = complaint(sharded)
    assert shard.name in words and "fetch it again" in words


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02nothing", b"version https://git-lfs\n", b"\0" * 99]
)
def test_a_shard_that_is_none(sharded: Path, content: bytes) -> None:
    shard = sorted(sharded.glob("*.bin"))[1]
    shard.write_bytes(content)
    words = complaint(sharded)
    assert shard.name in words and "fetch it again" in words


def test_a_safetensors_file_that_is_none(single: Path) -> None:
    (single / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    words = complaint(single)
    assert "model.safetensors cannot be read" in words and "fetch it again" in words


def test_a_missing_shard_that_the_index_names(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.bin"))[1]
    shard.unlink()
    words = complaint(sharded)
    assert f"{shard} is missing, and pytorch_model.bin.index.json names it" in words


def test_a_missing_tensor(single: Path) -> None:
    changed(single, without(DENSE))
    assert f"lacks the tensor {DENSE}" in complaint(single)
    changed(single, without(EMBEDDING))
    assert f"lacks the tensor {EMBEDDING} and 1 more" in complaint(single)


def test_a_tensor_of_another_shape(single: Path) -> None:
    changed(single, lambda tensors: tensors.update({DENSE: torch.zeros(32, 31)}))
    words = complaint(single)
    assert f"{DENSE} is float32 [32, 31]; by config.json it is floating [32, 32]" in words


def test_fused_rows_of_another_number_are_refused_before_they_are_split(single: Path) -> None:
    (single / "config.json").write_text(json.dumps({**config(single), "multi_query_group_num": 4}))
    assert "query_key_value.weight is float32 [64, 32]; by config.json" in complaint(single)


def test_a_tensor_that_has_no_place(single: Path) -> None:
    prefix = "transformer.prefix_encoder.embedding.weight"
    changed(single, lambda tensors: tensors.update({prefix: torch.zeros(2)}))
    assert f"has a tensor {prefix}, for which config.json has no place" in complaint(single)


PEAK = """
import json, sys, torch
from pathlib import Path
from danlu.adapters.models.chatglm.loading import load_chatglm

def highest():
    status = Path("/proc/self/status").read_text()
    return next(int(l.split()[1]) * 1024 for l in status.splitlines() if l.startswith("VmHWM"))

path = Path(sys.argv[1])
before = highest()
load_chatglm(path, json.loads((path / "config.json").read_text()), "cpu", torch.float16)
print(highest() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_host_holds_about_one_shard_beside_the_model(tmp_path: Path) -> None:
    large: dict[str, Any] = {"hidden": 512, "inner": 2048, "layers": 20, "vocabulary": 8192}
    model: Any = tiny_glm(**large).to(torch.float16)  # type: ignore[arg-type]
    size = sum(p.nbytes for p in model.parameters())
    path = save_original(tmp_path / "model", model, shard_bytes=size // 8)
    assert size > 100_000_000
    argv = [sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120)
    assert size < int(done.stdout) < size * (1 + 2 / 8)
