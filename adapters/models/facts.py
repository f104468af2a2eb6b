"""What a model's configuration says about it: its context, its end tokens. Pure reading."""

from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import TemplateError
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from .spellings import special_ids

# How families spell the number of positions, the usual spelling first.
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
    "n_ctx",
    "context_length",
    "model_max_length",
)
# What families call the table of their positions' vectors.
TABLES = frozenset({"wpe", "embed_positions", "position_embeddings", "positions_embed"})
UNKNOWN_LENGTH = 2048  # of a model that states none, such as Mamba: modest, and can be overruled
PROBE = "\ue000"  # an answer that no template has
SANE_LENGTH = 10_000_000  # a tokenizer without a limit says 1e30

# Rotary scalings whose stated length is the unscaled one; the others state the scaled one.
SCALED_ON_TOP = frozenset({"linear", "dynamic"})


def context_length(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of prompt and answer together."""
    stated = stated_length(config)
    if stated is not None:
        return stated
    limit = int(getattr(tokenizer, "model_max_length", 0) or 0)
    return limit if 0 < limit < SANE_LENGTH else UNKNOWN_LENGTH


def stated_length(config: PretrainedConfig) -> int | None:
    """The configuration's own limit, rotary scaling included; None if it states none."""
    text = config.get_text_config()
    for name in LENGTHS:
        length = getattr(text, name, None)
        if isinstance(length, int) and length > 0:
            return _scaled(length, _scaling(text))
    return None


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids after which the model has said all: its files name them in up to three places, and
    its chat template writes one after an answer, which a model that is only pretrained learns
    with it."""
    ids = set(_after_answer(tokenizer))
    generation = getattr(model, "generation_config", None)
    for source in (generation, model.config.get_text_config(), tokenizer):
        ids.update(_ids(getattr(source, "eos_token_id", None)))
    return frozenset(ids)


def vocabulary(model: PreTrainedModel) -> int:
    """The number of ids that the model can read and score."""
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def learned_positions(model: PreTrainedModel) -> int | None:
    """The most tokens of a text, where each position has a vector that was learned, as in GPT-2;
    None for a model that computes them."""
    tables = [module for name, module in model.named_modules() if _is_table(name, module)]
    stated = stated_length(model.config)
    sizes = [table.num_embeddings for table in tables]
    return min([*sizes, *([stated] if stated else [])]) if sizes else None


def _is_table(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) and name.rpartition(".")[2] in TABLES


def _after_answer(tokenizer: PreTrainedTokenizerBase) -> Iterable[int]:
    """The first special token that the chat template writes after an answer."""
    if not tokenizer.chat_template:
        return ()
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": PROBE}]
    try:
        text = str(tokenizer.apply_chat_template(said, tokenize=False))
    except (TemplateError, TypeError, ValueError):  # who asks so is told
        return ()
    _, found, after = text.rpartition(PROBE)
    ids = tokenizer.encode(after, add_special_tokens=False) if found else []
    special = special_ids(tokenizer)
    return [i for i in ids if i in special][:1]


def _scaling(config: PretrainedConfig) -> Mapping[str, Any]:
    """The rotary parameters; of a model with several kinds of layers, those of full attention."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = rope.get("full_attention")
    return nested if isinstance(nested, Mapping) else rope


def _scaled(length: int, rope: Mapping[str, Any]) -> int:
    kind = rope.get("rope_type", rope.get("type", "default"))
    factor = float(rope.get("factor") or 1.0)
    if kind in SCALED_ON_TOP:
        return int(length * factor)
    original = rope.get("original_max_position_embeddings")
    if kind == "yarn" and original:
        return max(length, int(original * factor))
    return length


def _ids(value: int | Iterable[int] | None) -> Iterable[int]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
