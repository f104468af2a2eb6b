"""Brings a model of this family into a device's memory, tensor by tensor, on the calling thread.

The model is built without memory; each tensor of the files goes straight to its device and its
number format, or into its packed layer. So the host holds one file's mapped pages, and at most one
dense weight, beside what is its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, GlmConfig, GlmForCausalLM

from ...errors import StartError
from ..checkpoint import CONFIG, weight_files
from ..progress import Report
from ..weight_only.packing import Packing, check_packed
from ..weight_only.rows import Rows
from .config import Description, described, is_original
from .names import ROTARY, Part, parts, split
from .native import generation_config, native_config
from .quantised import Weight, kind_of, paired
from .shards import tensors_in
from .tokenizer import VOCAB_FILE, ChatGLMTokenizer


def load_chatglm(
    path: Path,
    config: Mapping[str, Any],
    device: str,
    dtype: torch.dtype,
    *,
    generation: int | None = None,
    packing: Packing | None = None,
    report: Report = lambda fraction, detail: None,
) -> GlmForCausalLM:
    """The model in the directory `path`, whose config.json is `config`, in either layout.

    `generation` decides where an original config.json cannot tell. Integers of a checkpoint are
    packed as they are where they fit into those of `packing`. Raises StartError for a model that is
    none of this family's, and for files that are damaged or do not belong together.
    """
    destination = Destination(device, dtype, packing)
    if is_original(config):
        of = described(config, generation, str(path / CONFIG))
        return _load_original(path, of, destination, report)
    model = _without_memory(GlmConfig.from_dict(dict(config)))
    own = {name: Part((name,), tuple(p.shape)) for name, p in model.named_parameters()}
    for name, tensor in _checked(path, tensors_in(weight_files(path)), own, report):
        destination.put(model, name, tensor)
    return _finished(model, GenerationConfig.from_pretrained(path), destination)


def load_tokenizer(path: Path, generation: int) -> ChatGLMTokenizer:
    """The tokenizer of the directory `path`; raises StartError for one that cannot be read."""
    return ChatGLMTokenizer(path / VOCAB_FILE, generation=generation)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where weights go, and as what."""

    device: str
    dtype: torch.dtype
    packing: Packing | None = None

    def put(self, model: GlmForCausalLM, name: str, weight: Weight) -> None:
        """A copy, always: what stays mapped would change or fail with its file."""
        owner, _, leaf = name.rpartition(".")
        packing = self.packing
        if packing is not None and leaf == "weight" and packing.takes(model, owner):
            packing.put(model, owner, self._fitting(weight, packing.kernel.bits))
            return
        tensor = weight.dense() if isinstance(weight, Rows) else weight
        memory = torch.empty(tensor.shape, dtype=self.dtype, device=self.device).copy_(tensor)
        model.get_submodule(owner).register_parameter(leaf, torch.nn.Parameter(memory))

    def _fitting(self, weight: Weight, bits: int) -> Weight:
        """Integers as they are stored, where they are no wider than `bits`."""
        if isinstance(weight, Rows):
            return weight.copied_to(self.device) if weight.bits <= bits else weight.dense()
        return weight.to(self.device)


def _load_original(
    path: Path, of: Description, destination: Destination, report: Report
) -> GlmForCausalLM:
    model = _without_memory(native_config(of))
    table = parts(of)
    stored = tensors_in(weight_files(path))
    tensors = paired(stored, table, of.bits, path) if of.bits else stored
    for name, weight in _checked(path, tensors, table, report):
        natives = table[name].natives
        pieces = (weight,) if len(natives) == 1 else _split(weight, of)
        for native, piece in zip(natives, pieces, strict=True):
            destination.put(model, native, piece)
    return _finished(model, generation_config(of), destination)


def _split(weight: Weight, of: Description) -> tuple[Weight, ...]:
    if isinstance(weight, Rows):
        return weight.split(lambda tensor: split(tensor, of))
    return split(weight, of)


def _without_memory(config: GlmConfig) -> GlmForCausalLM:
    kind: Any = GlmForCausalLM  # its constructor is not annotated
    with torch.device("meta"):
        model: GlmForCausalLM = kind(config)
    return model


def _checked(
    path: Path, tensors: Iterable[tuple[str, Weight]], table: Mapping[str, Part], report: Report
) -> Iterator[tuple[str, Weight]]:
    """The tensors, all of `table` and nothing else, each as large as it must be."""
    report(0.0, "loading weights")
    missing = dict(table)
    for name, tensor in tensors:
        if name == ROTARY:
            continue
        if name not in table:
            raise StartError(f"{path} has a tensor {name}, for which {CONFIG} has no place")
        wanted = table[name].shape
        floating = isinstance(tensor, Rows) or tensor.is_floating_point()
        if tuple(tensor.shape) != wanted or not floating:
            raise StartError(
                f"{path}: {name} is {kind_of(tensor)}; by {CONFIG} it is floating {list(wanted)}"
            )
        yield name, tensor
        missing.pop(name, None)
        report(1 - len(missing) / len(table), "loading weights")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise StartError(f"{path} lacks the tensor {next(iter(missing))}{more}")


def _finished(
    model: GlmForCausalLM, how: GenerationConfig, destination: Destination
) -> GlmForCausalLM:
    """What no file holds: the frequencies of the rotary angles, in full precision."""
    rotary: Any = type(model.model.rotary_emb)
    model.model.rotary_emb = rotary(model.config).to(destination.device)
    model.generation_config = how
    if destination.packing is not None:
        check_packed(model)
    model.train(False)
    return model
