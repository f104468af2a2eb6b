"""Tells what kind of adapter lies in a directory, and has it read. No code in it is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ...errors import StartError
from ..checkpoint import CONFIG, read_json
from ..loading import in_one_sentence
from .adapter import Tuning
from .lora import lora_at
from .prefix import original_prefix_at, peft_prefix_at

PEFT_CONFIG = "adapter_config.json"
PEFT_KINDS: dict[str, Callable[[Path, dict[str, Any], PreTrainedModel], Tuning]] = {
    "LORA": lora_at,
    "PREFIX_TUNING": peft_prefix_at,
}


def tuning_at(path: Path, model: PreTrainedModel) -> Tuning:
    """The adapter in the directory `path`, on the host, every tensor of a shape that fits `model`.

    Raises StartError for one that is broken, that fits another model, or that asks for what is not
    served.
    """
    with in_one_sentence(path):
        if (path / PEFT_CONFIG).is_file():
            return _by_peft(path, read_json(path / PEFT_CONFIG), model)
        if (path / CONFIG).is_file():
            config = read_json(path / CONFIG)
            if config.get("pre_seq_len") is not None:
                return original_prefix_at(path, config, model)
    raise StartError(
        f"{path} holds no adapter: no {PEFT_CONFIG} as LoRA has, and no {CONFIG} with pre_seq_len "
        "as P-Tuning v2 has"
    )


def _by_peft(path: Path, config: dict[str, Any], model: PreTrainedModel) -> Tuning:
    kind = config.get("peft_type")
    read = PEFT_KINDS.get(str(kind))
    if read is None:
        raise StartError(
            f"{path / PEFT_CONFIG} has peft_type={kind!r}; served are {' and '.join(PEFT_KINDS)}"
        )
    return read(path, config, model)
