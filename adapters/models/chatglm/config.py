"""What an original config.json describes: recognised, checked, in the house's words.

Pure, and without torch. What the native model cannot express is refused by the field's name.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import StartError

Config = Mapping[str, Any]

GENERATIONS = (2, 3)
NATIVE = "chatglm_generation"  # what a native config.json of this family has beside GLM's
NAMED = re.compile(r"(?:chatglm|codegeex)([23])(?!\d)")  # CodeGeeX2 is a ChatGLM2
END = 2  # </s>
USER, OBSERVATION = 64795, 64797  # ChatGLM3's roles; an answer ends where one of them would begin
END_IDS = {2: (END,), 3: (END, USER, OBSERVATION)}
BASE = 10_000.0  # of the rotary angles

FIRST_GENERATION = ("position_encoding_2d", "inner_hidden_size")
REFUSED = (  # field, the value that it must have, what another one would mean
    ("rmsnorm", True, "it would normalise by LayerNorm"),
    ("post_layer_norm", True, "it would leave out the norm after the last layer"),
    ("apply_residual_connection_post_layernorm", False, "it would add what is normalised already"),
    ("add_bias_linear", False, "it would add a bias to every projection"),
    ("original_rope", True, "it would rotate other pairs of channels"),
    ("tie_word_embeddings", False, "it would score with the embeddings"),
    ("pre_seq_len", None, "it would put a trained prefix before every prompt"),
)
BITS = (0, 4, 8)


@dataclass(frozen=True, slots=True)
class Description:
    """A model of this family. `per_head`: the rows of query_key_value lie [q k v] head by head."""

    generation: int
    vocabulary: int
    layers: int
    hidden: int
    inner: int
    heads: int
    groups: int
    head_size: int
    per_head: bool
    qkv_bias: bool
    epsilon: float
    positions: int
    rope_ratio: float = 1.0
    dropout: float = 0.0
    bits: int = 0  # of a quantised weight; 0 where all are dense
    dtype: str = "float16"


def is_chatglm(config: Config) -> bool:
    """Whether config.json is of this family, in the original layout or in the native one."""
    return is_original(config) or NATIVE in config


def is_original(config: Config) -> bool:
    """Whether config.json is in the original layout, of whatever generation."""
    return (
        config.get("model_type") == "chatglm"
        or "ChatGLMModel" in (config.get("architectures") or ())
        or ("multi_query_group_num" in config and "padded_vocab_size" in config)
    )


def described(config: Config, generation: int | None = None, where: str = "") -> Description:
    """What `config` describes; raises StartError that names the field, and the file by `where`.

    `generation` overrides what config.json says about it.
    """
    where = where or "config.json"
    _refuse(config, where)
    heads = _size(config, "num_attention_heads", where)
    hidden = _size(config, "hidden_size", where)
    shared = bool(config.get("multi_query_attention"))
    return Description(
        generation=generation or _generation(config, where),
        vocabulary=_size(config, "padded_vocab_size", where),
        layers=_size(config, "num_layers", where),
        hidden=hidden,
        inner=_size(config, "ffn_hidden_size", where),
        heads=heads,
        groups=_groups(config, heads, where) if shared else heads,
        head_size=_size(config, "kv_channels", where, hidden // heads),
        per_head=not shared,
        qkv_bias=bool(config.get("add_qkv_bias")),
        epsilon=float(config.get("layernorm_epsilon") or 1e-5),
        positions=_size(config, "seq_length", where, 2048),
        rope_ratio=_ratio(config, where),
        dropout=float(config.get("attention_dropout") or 0.0),
        bits=int(config.get("quantization_bit") or 0),
        dtype=str(config.get("torch_dtype") or config.get("dtype") or "float16"),
    )


def generation_of(config: Config, wanted: int | None = None, where: str = "") -> int:
    """2 or 3; `wanted` wins over what an original config.json says. Raises StartError."""
    if is_original(config):
        return described(config, wanted, where).generation
    return int(config[NATIVE])


def recorded_generation(config: Config) -> int | None:
    """By the name under which it was published, else by its end tokens; None if neither tells."""
    named = NAMED.search(str(config.get("_name_or_path") or "").lower())
    if named:
        return int(named[1])
    return 3 if USER in _end_ids(config) else None


def _generation(config: Config, where: str) -> int:
    recorded = recorded_generation(config)
    if recorded is None and _ratio(config, where) != 1:
        raise StartError(
            f"{where} has rope_ratio={config['rope_ratio']}, which ChatGLM2 and ChatGLM3 read "
            "differently, and does not record which it is; say so with --chatglm-generation"
        )
    return recorded or 2


def _refuse(config: Config, where: str) -> None:
    for field in FIRST_GENERATION:
        if field in config:
            raise StartError(
                f"{where} has {field}: this is the first ChatGLM-6B, which is not supported; "
                "take ChatGLM2-6B or ChatGLM3-6B"
            )
    for field, wanted, meaning in REFUSED:
        given = config.get(field)
        if given is not None and bool(given) is not bool(wanted):
            raise StartError(f"{where} has {field}={json.dumps(given)}, not supported: {meaning}")
    if (config.get("quantization_bit") or 0) not in BITS:
        bits = config["quantization_bit"]
        raise StartError(f"{where} has quantization_bit={json.dumps(bits)}; 4 and 8 are supported")
    strange = [i for i in _end_ids(config) if i not in END_IDS[3]]
    if strange:
        raise StartError(
            f"{where} has eos_token_id={config['eos_token_id']}, which no ChatGLM2 or ChatGLM3 "
            "has; GLM-4 and later are served from the directories whose names end in -hf"
        )


def _end_ids(config: Config) -> tuple[Any, ...]:
    stated = config.get("eos_token_id")
    if stated is None:
        return ()
    return tuple(stated) if isinstance(stated, list | tuple) else (stated,)


def _size(config: Config, field: str, where: str, default: int | None = None) -> int:
    value = config.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StartError(f"{where} has {field}={json.dumps(value)}; it must be a positive integer")
    return value


def _groups(config: Config, heads: int, where: str) -> int:
    groups = _size(config, "multi_query_group_num", where, 1)
    if heads % groups:
        raise StartError(
            f"{where} has multi_query_group_num={groups}, which does not divide "
            f"num_attention_heads={heads}"
        )
    return groups


def _ratio(config: Config, where: str) -> float:
    ratio = config.get("rope_ratio")
    if ratio is None:
        return 1.0
    if not isinstance(ratio, int | float) or isinstance(ratio, bool) or ratio <= 0:
        raise StartError(
            f"{where} has rope_ratio={json.dumps(ratio)}; it must be a positive number"
        )
    return float(ratio)
