"""The adapters' weights in the device's memory, and what they add to the model's linear layers.

A layer is added to only while an adapter for it is loaded: a model without one runs as if this did
not exist.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from ..adapters.models.tuned.adapter import Lora, Pair, Prefix, Tuning
from .adapter import BASE, Adapter

# With which of a step's tokens are its own, one or another perhaps more than once; None for all.
Group = tuple[Adapter, Tensor | None]


class Addition:
    """What adapters add to one layer's output, each to that of its own tokens."""

    def __init__(self, step: list[Group]) -> None:
        self.pairs: dict[Adapter, Pair] = {}
        self.handle: RemovableHandle | None = None
        self._step = step

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Called after the layer."""
        for adapter, tokens in self._step:
            pair = self.pairs.get(adapter)
            if pair is not None:
                _add(pair, tokens, inputs[0], output)


@dataclass(slots=True)
class Loaded:
    """`users` are the sequences that count on it."""

    tuning: Tuning
    users: int = 0
    retired: bool = False


class Tunings:
    """Owned by the engine's thread."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: Any = model
        self._loaded: dict[Adapter, Loaded] = {}
        self._additions: dict[str, Addition] = {}
        self._step: list[Group] = []  # shared with all additions

    def load(self, adapter: Adapter, tuning: Tuning) -> None:
        """Bring it to the device; if that fails, nothing has changed."""
        kept = _placed(tuning, self._model)
        self._loaded[adapter] = Loaded(kept)
        if isinstance(kept, Lora):
            for name, pair in kept.pairs.items():
                self._addition(name).pairs[adapter] = pair

    def retire(self, adapter: Adapter) -> None:
        """Let go of it, as soon as no sequence counts on it any more."""
        self._loaded[adapter].retired = True
        self._let_go(adapter)

    def enter(self, adapter: Adapter) -> bool:
        """A sequence counts on it from now on; False if it is not there any more."""
        if adapter is BASE:
            return True
        loaded = self._loaded.get(adapter)
        if loaded is None or loaded.retired:
            return False
        loaded.users += 1
        return True

    def leave(self, adapter: Adapter) -> None:
        """A sequence that entered has ended."""
        if adapter is not BASE:
            self._loaded[adapter].users -= 1
            self._let_go(adapter)

    def prefix(self, adapter: Adapter) -> Prefix:
        """The entries of one that has any."""
        tuning = self._loaded[adapter].tuning
        assert isinstance(tuning, Prefix), "only a prefix has entries"
        return tuning

    @contextmanager
    def mixed(self, groups: Sequence[Group]) -> Iterator[None]:
        """While the block runs, each adapter adds to the output for its own tokens."""
        self._step.extend(groups)
        try:
            yield
        finally:
            self._step.clear()

    def _addition(self, name: str) -> Addition:
        addition = self._additions.get(name)
        if addition is None:
            addition = self._additions[name] = Addition(self._step)
            addition.handle = self._model.get_submodule(name).register_forward_hook(addition)
        return addition

    def _let_go(self, adapter: Adapter) -> None:
        loaded = self._loaded[adapter]
        if not loaded.retired or loaded.users:
            return
        del self._loaded[adapter]
        for name in loaded.tuning.pairs if isinstance(loaded.tuning, Lora) else ():
            self._remove(name, adapter)

    def _remove(self, name: str, adapter: Adapter) -> None:
        addition = self._additions[name]
        del addition.pairs[adapter]
        if not addition.pairs:
            assert addition.handle is not None, "an addition is one to a layer"
            addition.handle.remove()
            del self._additions[name]


def grouped(
    tokens: Mapping[Adapter, Sequence[int]], there: Sequence[Tensor], count: int
) -> list[Group]:
    """The groups of a step of `count` tokens; `there` are the same numbers on the device."""
    everything = list(range(count))
    pairs = zip(tokens.items(), there, strict=True)
    return [(adapter, None if own == everything else moved) for (adapter, own), moved in pairs]


def _placed(tuning: Tuning, model: Any) -> Tuning:
    """On the model's device, in its number format."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(model.device, model.dtype)

    if isinstance(tuning, Lora):
        pairs = tuning.pairs.items()
        return Lora({name: Pair(moved(pair.down), moved(pair.up)) for name, pair in pairs})
    keys, values = (tuple(map(moved, layers)) for layers in (tuning.keys, tuning.values))
    return Prefix(keys, values, tuning.first)


def _add(pair: Pair, tokens: Tensor | None, given: Tensor, output: Tensor) -> None:
    """Add to `output` [1, tokens, out] in its place; who is not among `tokens` keeps every bit."""
    rows, seen = output.view(-1, output.shape[-1]), given.view(-1, given.shape[-1])
    if tokens is None:
        rows.add_(linear(linear(seen, pair.down), pair.up))
    else:
        new = linear(linear(seen.index_select(0, tokens), pair.down), pair.up)
        rows.index_copy_(0, tokens, new.add_(rows.index_select(0, tokens)))
