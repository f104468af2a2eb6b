"""Which layers of a model are packed, at how many bits, and with what activations."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...errors import StartError
from ...kernels.library import Library
from .kernel import Kernel, kernel_for
from .linear import WeightOnlyLinear, packed_linear
from .rows import Rows

log = logging.getLogger(__name__)

QUANTIZATIONS = {"int8": 8, "int4": 4}
AS_STORED = frozenset({"cpu"})  # devices on which a checkpoint of integers is packed unasked
SMALL = 64  # outputs; a router or a classifier with fewer costs nothing as it is


@dataclass(frozen=True, slots=True)
class Stored:
    """Weights that a checkpoint holds as integers: how wide, and each one's rows and columns."""

    bits: int
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """`output`: the layer that scores the vocabulary, too."""

    kernel: Kernel
    dtype: torch.dtype
    output: bool = True

    def takes(self, model: PreTrainedModel, name: str) -> bool:
        """Whether the module `name` is a layer to be packed."""
        layer = model.get_submodule(name)
        output: Any = model.get_output_embeddings  # not annotated
        if type(layer) is not nn.Linear or layer.out_features < SMALL:
            return False
        if layer is output() and not self.output:
            return False
        return self.kernel.fits(layer.out_features, layer.in_features)

    def put(self, model: PreTrainedModel, name: str, weight: Tensor | Rows) -> None:
        """Replace the layer `name` by a packed one with `weight`, which lies on its device."""
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        model.set_submodule(name, packed_linear(layer, weight, self.kernel, self.dtype))


def packing_for(
    quantization: str | None,
    device: str,
    *,
    wanted: torch.dtype | None = None,
    stated: torch.dtype | None = None,
    stored: Stored | None = None,
    library: Library | None = None,
) -> Packing | None:
    """How the weights are packed; None where they stay, or become, dense.

    `wanted` is the number format that was asked for, `stated` the checkpoint's own. What is stored
    as integers is packed unasked where that is faster, and dense where a number format was asked
    for that the kernel does not take. Raises StartError for what does not go together.
    """
    if quantization is not None:
        kernel = kernel_for(device, QUANTIZATIONS[quantization], library)
        if wanted is not None and wanted not in kernel.dtypes:
            raise StartError(_misfit(quantization, device, wanted, kernel))
        return Packing(kernel, wanted or _usual(kernel, stated))
    if stored is None or device.partition(":")[0] not in AS_STORED:
        return None
    kernel = kernel_for(device, stored.bits, library)
    exact = all(kernel.fits(rows, columns) for rows, columns in stored.sizes)
    if not exact or (wanted is not None and wanted not in kernel.dtypes):
        return None
    return Packing(kernel, wanted or _usual(kernel, stated), output=False)


def quantise(
    model: PreTrainedModel,
    packing: Packing,
    device: str,
    report: Callable[[float, str], None] = lambda fraction, detail: None,
) -> None:
    """Pack the layers of a model that is in memory, on `device`, one after the other.

    Each dense weight is let go before the next one is packed.
    """
    names = [name for name, _ in model.named_modules() if packing.takes(model, name)]
    for number, name in enumerate(names):
        report(number / len(names), "packing weights")
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        packing.put(model, name, layer.weight.detach().to(device))
    check_packed(model)


def check_packed(model: PreTrainedModel) -> None:
    """Says in the log what was packed; raises StartError where that is nothing."""
    packed = sum(1 for _ in _layers(model, WeightOnlyLinear))
    dense = sum(1 for _ in _layers(model, nn.Linear))
    if not packed:
        raise StartError(
            f"{type(model).__name__} has no layer that can be packed; leave --quantization out"
        )
    log.info("weights packed layers=%d dense_layers=%d bytes=%d", packed, dense, size(model))


def size(model: nn.Module) -> int:
    """Bytes of all weights; one that is used twice counts once."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _layers(model: nn.Module, kind: type[nn.Module]) -> Iterator[nn.Module]:
    return (layer for layer in model.modules() if type(layer) is kind)


def _usual(kernel: Kernel, stated: torch.dtype | None) -> torch.dtype:
    return stated if stated is not None and stated in kernel.dtypes else kernel.dtypes[0]


def _misfit(quantization: str, device: str, wanted: torch.dtype, kernel: Kernel) -> str:
    names = " or ".join(str(dtype).removeprefix("torch.") for dtype in kernel.dtypes)
    given = str(wanted).removeprefix("torch.")
    return (
        f"--quantization {quantization} computes in {names} on {device}, not in {given}; "
        "leave --dtype out"
    )
