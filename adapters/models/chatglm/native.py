"""One model, two configurations: the native GlmConfig of a description, and back to the original's.

`rope_ratio` means two things. ChatGLM2-32k divides positions by it, ChatGLM3-32k multiplies the
base of the angles with it.
"""

from typing import Any

from transformers import GenerationConfig, GlmConfig

from ...errors import StartError
from .config import BASE, END_IDS, GENERATIONS, NATIVE, Description

PAD = 0  # <unk>
HALF = 0.5  # of a head's channels are rotated
CODE = {  # which class of which file the original's loaders look for
    "AutoConfig": "configuration_chatglm.ChatGLMConfig",
    "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
    "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
    "AutoModelForSeq2SeqLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
}


def native_config(of: Description) -> GlmConfig:
    """Its `chatglm_generation` says where it comes from."""
    facts: dict[str, Any] = {
        "vocab_size": of.vocabulary,
        "hidden_size": of.hidden,
        "intermediate_size": of.inner,
        "num_hidden_layers": of.layers,
        "num_attention_heads": of.heads,
        "num_key_value_heads": of.groups,
        "head_dim": of.head_size,
        "attention_bias": of.qkv_bias,
        "attention_dropout": of.dropout,
        "rms_norm_eps": of.epsilon,
        "max_position_embeddings": _unscaled_positions(of),
        "rope_parameters": _rope(of),
        "pad_token_id": PAD,
        "eos_token_id": _end_ids(of),
        NATIVE: of.generation,
    }
    return GlmConfig(**facts)


def generation_config(of: Description) -> GenerationConfig:
    """The original's sampling defaults; top_k is what transformers adds to them."""
    kind: Any = GenerationConfig  # its constructor is not annotated
    config: GenerationConfig = kind(
        do_sample=True,
        temperature=0.8,
        top_p=0.8,
        top_k=50,
        eos_token_id=_end_ids(of),
        pad_token_id=PAD,
    )
    return config


def description_of(config: GlmConfig, generation: int | None = None) -> Description:
    """What a native configuration describes; StartError for what the original cannot express.

    `generation` is for a configuration that does not record it.
    """
    recorded = generation or getattr(config, NATIVE, None)
    if recorded not in GENERATIONS:
        raise StartError(
            f"this {config.model_type} model is no ChatGLM2 or ChatGLM3, and only these have the "
            "original layout; write it in the native one"
        )
    if config.tie_word_embeddings or config.hidden_act != "silu":
        raise StartError(
            "the original layout has no words for tie_word_embeddings=true or for another "
            f"hidden_act than silu, and this is {config.hidden_act}; write it in the native one"
        )
    ratio, positions = _ratio_and_positions(config, recorded)
    groups = config.num_key_value_heads or config.num_attention_heads
    return Description(
        generation=recorded,
        vocabulary=config.vocab_size,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        inner=config.intermediate_size,
        heads=config.num_attention_heads,
        groups=groups,
        head_size=config.head_dim or config.hidden_size // config.num_attention_heads,
        per_head=groups == config.num_attention_heads,
        qkv_bias=config.attention_bias,
        epsilon=config.rms_norm_eps,
        positions=positions,
        rope_ratio=ratio,
        dropout=float(config.attention_dropout or 0.0),
    )


def original_config(of: Description) -> dict[str, Any]:
    """The config.json that the original's code reads."""
    return {
        "_name_or_path": f"danlu/chatglm{of.generation}",  # tells the generation
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "auto_map": CODE,
        "add_bias_linear": False,
        "add_qkv_bias": of.qkv_bias,
        "apply_query_key_layer_scaling": True,
        "apply_residual_connection_post_layernorm": False,
        "attention_dropout": of.dropout,
        "attention_softmax_in_fp32": True,
        "bias_dropout_fusion": True,
        "ffn_hidden_size": of.inner,
        "fp32_residual_connection": False,
        "hidden_dropout": 0.0,
        "hidden_size": of.hidden,
        "kv_channels": of.head_size,
        "layernorm_epsilon": of.epsilon,
        "multi_query_attention": not of.per_head,
        "multi_query_group_num": of.groups,
        "num_attention_heads": of.heads,
        "num_layers": of.layers,
        "original_rope": True,
        "padded_vocab_size": of.vocabulary,
        "post_layer_norm": True,
        "rmsnorm": True,
        "seq_length": of.positions,
        "use_cache": True,
        "torch_dtype": of.dtype,
        "tie_word_embeddings": False,
        "eos_token_id": END_IDS[of.generation][0],
        "pad_token_id": PAD,
        **({"rope_ratio": of.rope_ratio} if of.rope_ratio != 1 else {}),
    }


def _interpolates(of: Description) -> bool:
    return of.generation == 2 and of.rope_ratio != 1


def _rope(of: Description) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_theta": BASE, "partial_rotary_factor": HALF}
    if _interpolates(of):
        return {**rope, "rope_type": "linear", "factor": of.rope_ratio}
    return {**rope, "rope_type": "default", "rope_theta": BASE * of.rope_ratio}


def _unscaled_positions(of: Description) -> int:
    """Under interpolation transformers states what the model was trained for before it."""
    return int(of.positions / of.rope_ratio) if _interpolates(of) else of.positions


def _end_ids(of: Description) -> list[int]:
    return [i for i in END_IDS[of.generation] if i < of.vocabulary]


def _ratio_and_positions(config: GlmConfig, generation: int) -> tuple[float, int]:
    rope: Any = config.rope_parameters or {}
    kind, base = rope.get("rope_type", "default"), rope.get("rope_theta", BASE)
    positions = config.max_position_embeddings
    if rope.get("partial_rotary_factor") == HALF:
        if kind == "default" and (generation == 3 or base == BASE):
            return base / BASE, positions
        if kind == "linear" and generation == 2 and base == BASE:
            return float(rope["factor"]), int(positions * rope["factor"])
    raise StartError(
        f"the original layout of ChatGLM{generation} has no words for rope_parameters={rope}; "
        "write it in the native one"
    )
