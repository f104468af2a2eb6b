"""A model of this family as a directory that others read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import tiny_model
from support.tiny_glm import logits, save_original, tiny_glm
from transformers import AutoModelForCausalLM, GlmForCausalLM

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.config import described
from danlu.adapters.models.chatglm.export import export_native, export_original, planned


def read(directory: Path, name: str) -> Any:
    return json.loads((directory / name).read_text())


def weights(file: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return found


def test_the_original_layout_has_the_originals_names_shapes_and_rows(tmp_path: Path) -> None:
    model = tiny_glm()
    found = weights(save_original(tmp_path / "out", model) / "pytorch_model.bin")
    layer = "transformer.encoder.layers.1."
    attention = model.model.layers[1].self_attn
    assert torch.equal(
        found[layer + "self_attention.query_key_value.weight"],
        torch.cat([part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)]),
    )
    assert found[layer + "mlp.dense_h_to_4h.weight"].shape == (48, 32)
    assert torch.equal(found["transformer.output_layer.weight"], model.lm_head.weight)
    assert torch.allclose(found["transformer.rotary_pos_emb.inv_freq"], torch.tensor([1.0, 0.01]))
    assert len(found) == 2 * 7 + 4


def test_without_shared_keys_the_rows_lie_head_by_head(tmp_path: Path) -> None:
    model = tiny_glm(groups=4, per_head=True)
    out = save_original(tmp_path / "out", model)
    rows = weights(out / "pytorch_model.bin")[
        "transformer.encoder.layers.0.self_attention.query_key_value.weight"
    ]
    attention = model.model.layers[0].self_attn
    assert torch.equal(rows[:8], attention.q_proj.weight[:8])
    assert torch.equal(rows[8:16], attention.k_proj.weight[:8])
    assert torch.equal(rows[24:32], attention.q_proj.weight[8:16])
    assert read(out, "config.json")["multi_query_attention"] is False


@pytest.mark.parametrize("generation", [2, 3])
@pytest.mark.parametrize("rope_ratio", [1.0, 4.0])
def test_the_configuration_describes_the_same_model_again(
    tmp_path: Path, generation: int, rope_ratio: float
) -> None:
    model = tiny_glm(generation=generation, rope_ratio=rope_ratio)
    again = described(read(save_original(tmp_path / "out", model), "config.json"))
    assert (again.generation, again.rope_ratio) == (generation, rope_ratio)
    assert (again.positions, again.heads, again.groups) == (64, 4, 2)


def test_a_model_that_records_no_generation_is_given_one(tmp_path: Path) -> None:
    model = tiny_glm()
    del model.config.chatglm_generation
    with pytest.raises(StartError, match="is no ChatGLM2 or ChatGLM3"):
        save_original(tmp_path / "out", model)
    out = save_original(tmp_path / "out", model, generation=3)
    assert described(read(out, "config.json")).generation == 3


def test_shards_are_named_in_an_index_and_hold_no_more_than_they_may(tmp_path: Path) -> None:
    out = save_original(tmp_path / "out", shard_bytes=20_000)
    index = read(out, "pytorch_model.bin.index.json")
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    assert files == sorted(file.name for file in out.glob("*.bin"))
    assert files[0] == f"pytorch_model-00001-of-{len(files):05}.bin"
    for name, file in index["weight_map"].items():
        assert name in weights(out / file)
    assert max((out / file).stat().st_size for file in files) < 20_000 * 1.3
    assert index["metadata"]["total_size"] == sum(p.nbytes for p in tiny_glm().parameters())


def test_a_plan_keeps_the_order_and_gives_what_is_too_large_a_shard_of_its_own() -> None:
    assert planned({"a": 3, "b": 3, "c": 9, "d": 1}, 6) == [["a", "b"], ["c"], ["d"]]


def test_the_tokenizer_and_the_originals_code_go_along(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "modeling_chatglm.py").write_text("raise SystemExit")
    (code / "other.py").write_text("")
    out = save_original(tmp_path / "out", code=code)
    assert (out / "tokenizer.model").read_bytes() == b"pieces"
    assert read(out, "tokenizer_config.json")["tokenizer_class"] == "ChatGLMTokenizer"
    assert [file.name for file in out.glob("*.py")] == ["modeling_chatglm.py"]


def test_transformers_reads_the_native_layout_without_remote_code(tmp_path: Path) -> None:
    model = tiny_glm(generation=3, rope_ratio=5.0, vocabulary=65024, hidden=16)
    (tmp_path / "tokenizer.model").write_bytes(b"pieces")
    export_native(model, tmp_path / "tokenizer.model", tmp_path / "out")
    kind: Any = AutoModelForCausalLM  # not annotated
    again = kind.from_pretrained(tmp_path / "out", dtype=torch.float32, local_files_only=True)
    assert isinstance(again, GlmForCausalLM)
    assert torch.equal(logits(again), logits(model))
    assert again.generation_config.eos_token_id == [2, 64795, 64797]
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == b"pieces"
    assert not re.search("auto_map", (tmp_path / "out" / "tokenizer_config.json").read_text())


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    out = save_original(tmp_path / "out")
    before = sorted(out.iterdir())
    with pytest.raises(StartError, match="exists and is not empty; name a new directory"):
        save_original(out)
    assert sorted(out.iterdir()) == before


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot be written: .*nowhere"):
        export_original(tiny_glm(), tmp_path / "nowhere", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e4,
                "partial_rotary_factor": 0.5,
            }
        },
    ],
)
def test_what_the_original_layout_has_no_words_for_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = tiny_glm()
    for name, value in changes.items():
        setattr(model.config, name, value)
    with pytest.raises(StartError, match="has no words for"):
        save_original(tmp_path / "out", model)


def test_a_model_of_another_family_is_refused(tmp_path: Path) -> None:
    stranger: Any = tiny_model()
    with pytest.raises(StartError, match="this llama model is no ChatGLM2 or ChatGLM3"):
        save_original(tmp_path / "out", stranger)


def test_weights_keep_their_number_format(tmp_path: Path) -> None:
    half: Any = tiny_glm().to(torch.float16)  # type: ignore[arg-type]
    out = save_original(tmp_path / "out", half)
    assert {t.dtype for t in weights(out / "pytorch_model.bin").values()} == {torch.float16}
    assert read(out, "config.json")["torch_dtype"] == "float16"
