"""Writes the real small model's weights as a GGUF file for llama.cpp, whole, without a vocabulary.

    python -m benchmarks.gguf

The weights are those that everybody else loads, in float32; llama.cpp itself makes its other
precisions of them. Prompts and answers are token ids, so the file needs no tokenizer.
"""

import json
from pathlib import Path

import gguf
import torch
from safetensors.torch import load_file

from .models import smollm2

NAMES = {  # of a layer: transformers' and llama.cpp's
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def main() -> None:
    model = smollm2()
    folder = model.with_name(f"{model.name}-gguf")
    folder.mkdir(exist_ok=True)
    file, making = folder / "f32.gguf", folder / "f32.making"
    write(model, making)
    making.rename(file)
    print(f"{file} has the weights of {model}")


def write(model: Path, file: Path) -> None:
    """A Llama's directory as one file."""
    config = json.loads((model / "config.json").read_text())
    writer = gguf.GGUFWriter(file, "llama")
    _describe(writer, config)
    for name, tensor in load_file(model / "model.safetensors").items():
        writer.add_tensor(f"{renamed(name)}.weight", turned(name, tensor, config).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def renamed(name: str) -> str:
    """llama.cpp's name of one of transformers' tensors, without its `.weight`."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in whole:
        return whole[stem]
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}"


def _describe(writer: gguf.GGUFWriter, config: dict[str, int]) -> None:
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def turned(name: str, tensor: torch.Tensor, config: dict[str, int]) -> torch.Tensor:
    """llama.cpp rotates neighbours where transformers rotates halves: rows of q and k move."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    for part, count in heads.items():
        if f".{part}." in name:
            rows, columns = tensor.shape
            halves = tensor.view(config[count], 2, rows // config[count] // 2, columns)
            return halves.transpose(1, 2).reshape(rows, columns).float().contiguous()
    return tensor.float().contiguous()


if __name__ == "__main__":
    main()
