"""GGUF files: read as a model, written out as a directory."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from danlu.adapters.errors import StartError
from danlu.adapters.models.gguf import load_gguf, save_as_directory
from danlu.adapters.models.loading import load_model
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear

WIDTH, HEADS, LAYERS, INNER = 32, 4, 2, 48
THETA = 50_000.0
ALPHABET = [*"0123456789abcdefghijklmnopqrstuvwxyz .,!?", "Ġ", "Ċ"]
TOKENS = ["<|im_start|>", "<|im_end|>", *ALPHABET, "12", "ab"]
CONTROL, NORMAL = 3, 1


def write_gguf(
    path: Path, *, pre: str = "smollm", theta: float = THETA, width: int = WIDTH
) -> Path:
    """A Llama of random weights, as llama.cpp's converter would write it."""
    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(theta)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([CONTROL] * 2 + [NORMAL] * (len(TOKENS) - 2))
    writer.add_token_merges(["1 2", "a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    _add_weights(writer, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_weights(writer: Any, width: int) -> None:
    random = numpy.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0, 0.3, shape).astype(numpy.float32))

    add("token_embd.weight", len(TOKENS), width)
    add("output_norm.weight", width)
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{norm}.weight", width)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", width, width)
        for part in ("ffn_gate", "ffn_up"):
            add(f"blk.{layer}.{part}.weight", INNER, width)
        add(f"blk.{layer}.ffn_down.weight", width, INNER)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf")


def test_a_gguf_is_served_like_a_directory(file: Path) -> None:
    loaded = load_model(file, "cpu")
    assert (loaded.context_length, loaded.vocabulary) == (64, len(TOKENS))
    assert loaded.end_ids == {1}


def test_the_weights_of_a_gguf_can_be_packed(tmp_path: Path) -> None:
    """They become dense first, layer by layer; sizes that no kernel takes stay so."""
    loaded = load_model(write_gguf(tmp_path / "wide.gguf", width=64), "cpu", quantization="int8")
    packed = [n for n, m in loaded.model.named_modules() if isinstance(m, WeightOnlyLinear)]
    assert len(packed) == 4 * LAYERS
    assert loaded.model(torch.tensor([[2, 3]])).logits.isfinite().all()


def test_a_gguf_whose_sizes_no_kernel_takes_is_refused_packed(file: Path) -> None:
    with pytest.raises(StartError, match="has no layer that can be packed; leave --quantization"):
        load_model(file, "cpu", quantization="int4")


def test_numbers_are_split_into_digits_where_the_file_says_so(file: Path, tmp_path: Path) -> None:
    _, tokenizer = load_gguf(file, torch.float32)
    assert tokenizer.tokenize("12ab") == ["1", "2", "ab"]
    _, other = load_gguf(write_gguf(tmp_path / "other.gguf", pre="gpt-2"), torch.float32)
    assert other.tokenize("12ab") == ["12", "ab"]


def test_a_tokenizer_that_nobody_knows_is_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_gguf(write_gguf(tmp_path / "odd.gguf", pre="odd"), torch.float32)
    assert "unknown pre-tokenizer" in caplog.text
    assert "name=odd" in caplog.text


def test_what_is_written_out_says_what_was_read(file: Path, tmp_path: Path) -> None:
    model, tokenizer = load_gguf(file, torch.float32)
    save_as_directory(model, tokenizer, tmp_path / "out")
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    reader = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "<|im_start|>12 ab, 34.<|im_end|>"
    ids = tokenizer.encode(text)
    assert reader.encode(text) == ids
    assert reader.chat_template == tokenizer.chat_template
    assert torch.equal(again(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits)


def test_what_is_written_out_has_the_older_spelling_of_the_rotary_base(
    file: Path, tmp_path: Path
) -> None:
    """transformers 4 reads nothing else, and takes 10000 where it finds nothing."""
    save_as_directory(*load_gguf(file, torch.float32), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["rope_theta"], config["rope_scaling"]) == (THETA, None)
    facts = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert facts["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"nothing")
    with pytest.raises(StartError, match="no GGUF"):
        load_gguf(tmp_path / "x.gguf", torch.float32)


@pytest.mark.parametrize("cut", [30, 200, -40])
def test_a_file_that_was_cut_is_one_sentence(cut: int, file: Path, tmp_path: Path) -> None:
    """In the header, in the table of tokens, and in the weights."""
    (tmp_path / "x.gguf").write_bytes(file.read_bytes()[:cut])
    with pytest.raises(StartError, match="x.gguf is a damaged GGUF file; fetch it again"):
        load_gguf(tmp_path / "x.gguf", torch.float32)


def test_a_gguf_of_a_family_that_nobody_knows_is_one_sentence(tmp_path: Path) -> None:
    writer: Any = gguf.GGUFWriter(tmp_path / "x.gguf", "foonet")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(StartError, match="x.gguf cannot be loaded") as info:
        load_model(tmp_path / "x.gguf", "cpu")
    assert "\n" not in str(info.value)
