"""Brings a model of this family into a device's memory, tensor by tensor, on the calling thread.

The model is built without memory; each tensor of the files goes straight to its device and its
number format. So the host holds one file's mapped pages beside what is its own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, GlmConfig, GlmForCausalLM

from ...errors import StartError
from ..checkpoint import CONFIG, weight_files
from ..progress import Report
from .config import Description, described, is_original
from .names import ROTARY, Part, parts, split
from .native import generation_config, native_config
from .quantised import Named, dequantised, kind_of
from .shards import tensors_in
from .tokenizer import VOCAB_FILE, ChatGLMTokenizer


def load_chatglm(
    path: Path,
    config: Mapping[str, Any],
    device: str,
    dtype: torch.dtype,
    *,
    generation: int | None = None,
    report: Report = lambda fraction, detail: None,
) -> GlmForCausalLM:
    """The model in the directory `path`, whose config.json is `config`, in either layout.

    `generation` decides where an original config.json cannot tell. Raises StartError for a model
    that is none of this family's, and for files that are damaged or do not belong together.
    """
    if is_original(config):
        of = described(config, generation, str(path / CONFIG))
        return _load_original(path, of, device, dtype, report)
    model = _without_memory(GlmConfig.from_dict(dict(config)))
    own = {name: Part((name,), tuple(p.shape)) for name, p in model.named_parameters()}
    for name, tensor in _checked(path, tensors_in(weight_files(path)), own, report):
        _place(model, name, tensor, device, dtype)
    return _finished(model, GenerationConfig.from_pretrained(path), device)


def load_tokenizer(path: Path, generation: int) -> ChatGLMTokenizer:
    """The tokenizer of the directory `path`; raises StartError for one that cannot be read."""
    return ChatGLMTokenizer(path / VOCAB_FILE, generation=generation)


def _load_original(
    path: Path, of: Description, device: str, dtype: torch.dtype, report: Report
) -> GlmForCausalLM:
    model = _without_memory(native_config(of))
    table = parts(of)
    tensors = tensors_in(weight_files(path))
    if of.bits:
        tensors = dequantised(tensors, table, of.bits, path)
    for name, tensor in _checked(path, tensors, table, report):
        natives = table[name].natives
        pieces = (tensor,) if len(natives) == 1 else split(tensor, of)
        for native, piece in zip(natives, pieces, strict=True):
            _place(model, native, piece, device, dtype)
    return _finished(model, generation_config(of), device)


def _without_memory(config: GlmConfig) -> GlmForCausalLM:
    kind: Any = GlmForCausalLM  # its constructor is not annotated
    with torch.device("meta"):
        model: GlmForCausalLM = kind(config)
    return model


def _checked(
    path: Path, tensors: Iterator[Named], table: Mapping[str, Part], report: Report
) -> Iterator[Named]:
    """The tensors, all of `table` and nothing else, each as large as it must be."""
    report(0.0, "loading weights")
    missing = dict(table)
    for name, tensor in tensors:
        if name == ROTARY:
            continue
        if name not in table:
            raise StartError(f"{path} has a tensor {name}, for which {CONFIG} has no place")
        wanted = table[name].shape
        if tuple(tensor.shape) != wanted or not tensor.is_floating_point():
            raise StartError(
                f"{path}: {name} is {kind_of(tensor)}; by {CONFIG} it is floating {list(wanted)}"
            )
        yield name, tensor
        missing.pop(name, None)
        report(1 - len(missing) / len(table), "loading weights")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise StartError(f"{path} lacks the tensor {next(iter(missing))}{more}")


def _place(
    model: GlmForCausalLM, name: str, tensor: torch.Tensor, device: str, dtype: torch.dtype
) -> None:
    """A copy, always: what stays mapped would change or fail with its file."""
    owner, _, leaf = name.rpartition(".")
    memory = torch.empty(tensor.shape, dtype=dtype, device=device).copy_(tensor)
    model.get_submodule(owner).register_parameter(leaf, torch.nn.Parameter(memory))


def _finished(model: GlmForCausalLM, how: GenerationConfig, device: str) -> GlmForCausalLM:
    """What no file holds: the frequencies of the rotary angles, in full precision."""
    rotary: Any = type(model.model.rotary_emb)
    model.model.rotary_emb = rotary(model.config).to(device)
    model.generation_config = how
    model.train(False)
    return model
