"""What a config.json of this family describes, and what is refused by its field."""

from typing import Any

import pytest

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.config import (
    described,
    generation_of,
    is_chatglm,
    is_original,
    recorded_generation,
)
from danlu.adapters.models.chatglm.native import native_config

CHATGLM2 = {  # as published, without what nobody reads
    "_name_or_path": "THUDM/chatglm2-6b",
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_residual_connection_post_layernorm": False,
    "ffn_hidden_size": 13696,
    "hidden_size": 4096,
    "kv_channels": 128,
    "layernorm_epsilon": 1e-05,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_layers": 28,
    "original_rope": True,
    "padded_vocab_size": 65024,
    "post_layer_norm": True,
    "pre_seq_len": None,
    "rmsnorm": True,
    "seq_length": 32768,
    "torch_dtype": "float16",
    "tie_word_embeddings": False,
    "eos_token_id": 2,
}


def a_config(**changes: Any) -> dict[str, Any]:
    return {**CHATGLM2, **changes}


def nameless(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in a_config(**changes).items() if name != "_name_or_path"}


def complaint(config: dict[str, Any]) -> str:
    with pytest.raises(StartError) as refusal:
        described(config, where="DIR/config.json")
    words = str(refusal.value)
    assert "\n" not in words
    assert words.startswith("DIR/config.json has ")
    return words


def test_chatglm2_6b_is_the_native_model_of_its_sizes() -> None:
    found = native_config(described(a_config()))
    assert (found.vocab_size, found.hidden_size, found.intermediate_size) == (65024, 4096, 13696)
    assert (found.num_hidden_layers, found.num_attention_heads) == (28, 32)
    assert (found.num_key_value_heads, found.head_dim) == (2, 128)
    assert (found.rms_norm_eps, found.attention_bias) == (1e-5, True)
    assert found.max_position_embeddings == 32768
    assert (found.pad_token_id, found.eos_token_id) == (0, [2])


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "chatglm"},
        {"architectures": ["ChatGLMModel"]},
        {"multi_query_group_num": 2, "padded_vocab_size": 512},
    ],
)
def test_it_is_recognised_by_what_it_says_of_itself(config: dict[str, Any]) -> None:
    assert is_original(config) and is_chatglm(config)


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "glm"}, {"model_type": "llama", "architectures": None}]
)
def test_others_are_not(config: dict[str, Any]) -> None:
    assert not is_chatglm(config)


def test_the_native_layout_is_recognised_by_what_we_note_in_it() -> None:
    config = native_config(described(a_config(), generation=3)).to_dict()
    assert is_chatglm(config) and not is_original(config)
    assert generation_of(config) == 3


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("THUDM/chatglm2-6b", 2),
        ("THUDM/chatglm2-6b-32k", 2),
        ("/models/ChatGLM3-6b-base", 3),
        ("zai-org/chatglm3-6b-128k", 3),
        ("THUDM/codegeex2-6b", 2),
        ("THUDM/chatglm-6b", None),
        ("THUDM/chatglm31", None),
        ("/runs/checkpoint-3000", None),
        ("", None),
    ],
)
def test_the_recorded_name_tells_the_generation(name: str, generation: int | None) -> None:
    assert recorded_generation(a_config(_name_or_path=name)) == generation
    assert generation_of(a_config(_name_or_path=name)) == (generation or 2)


def test_without_a_name_the_end_tokens_tell() -> None:
    assert generation_of(nameless(eos_token_id=[2, 64795, 64797])) == 3
    assert generation_of(nameless()) == 2


def test_the_flag_decides_against_whatever_is_recorded() -> None:
    assert generation_of(a_config(), wanted=3) == 3
    assert native_config(described(a_config(), generation=3)).eos_token_id == [2, 64795, 64797]


def test_chatglm2_divides_positions_and_chatglm3_raises_the_base() -> None:
    config = a_config(rope_ratio=8, seq_length=32768)
    second = native_config(described(config, generation=2))
    third = native_config(described(config, generation=3))
    assert second.rope_parameters == {
        "rope_type": "linear",
        "factor": 8.0,
        "rope_theta": 10_000.0,
        "partial_rotary_factor": 0.5,
    }
    assert second.max_position_embeddings == 4096  # as transformers states it: before scaling
    assert third.rope_parameters == {
        "rope_type": "default",
        "rope_theta": 80_000.0,
        "partial_rotary_factor": 0.5,
    }
    assert third.max_position_embeddings == 32768


def test_a_ratio_that_two_generations_read_differently_is_not_guessed() -> None:
    words = complaint(nameless(rope_ratio=50))
    assert "rope_ratio=50" in words and "--chatglm-generation" in words
    assert described(nameless(rope_ratio=50), generation=3).rope_ratio == 50


def test_what_is_not_given_is_as_the_originals_code_has_it() -> None:
    bare = {
        name: CHATGLM2[name]
        for name in (
            *("num_layers", "padded_vocab_size", "hidden_size", "ffn_hidden_size"),
            "num_attention_heads",
        )
    }
    found = described(bare)
    assert (found.per_head, found.groups, found.qkv_bias) == (True, 32, False)
    assert (found.head_size, found.positions, found.epsilon) == (128, 2048, 1e-5)
    assert (found.bits, found.dtype, found.rope_ratio) == (0, "float16", 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rmsnorm": False}, "rmsnorm=false"),
        ({"post_layer_norm": False}, "post_layer_norm=false"),
        (
            {"apply_residual_connection_post_layernorm": True},
            "apply_residual_connection_post_layernorm=true",
        ),
        ({"add_bias_linear": True}, "add_bias_linear=true"),
        ({"original_rope": False}, "original_rope=false"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=true"),
        ({"pre_seq_len": 128}, "pre_seq_len=128"),
        ({"quantization_bit": 2}, "quantization_bit=2; 4 and 8"),
        ({"position_encoding_2d": True}, "position_encoding_2d: this is the first ChatGLM-6B"),
        ({"inner_hidden_size": 16384}, "inner_hidden_size: this is the first ChatGLM-6B"),
        ({"eos_token_id": [151329, 151336]}, "eos_token_id=[151329, 151336]"),
        ({"num_layers": None}, "num_layers=null; it must be a positive integer"),
        ({"hidden_size": "4096"}, 'hidden_size="4096"'),
        ({"kv_channels": 0}, "kv_channels=0"),
        ({"multi_query_group_num": 3}, "multi_query_group_num=3, which does not divide"),
        ({"rope_ratio": -1}, "rope_ratio=-1; it must be a positive number"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_field(changes: dict[str, Any], words: str) -> None:
    assert words in complaint(a_config(**changes))
