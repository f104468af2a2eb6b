"""The adapters that are in the device's memory, from their loading until nobody needs them.

A layer is added to only while an adapter for it is loaded: a model without one runs as if this did
not exist.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from ..adapters.errors import BadRequest, OutOfMemory
from ..adapters.models.tuned.adapter import Pair, Prefix, Tuning
from .adapter import BASE, Adapter
from .additions import Addition, Mix, Own, numbers

MIB = 2**20


@dataclass(slots=True)
class Loaded:
    """`users` are the sequences that count on it. A prefix is kept here, of a LoRA the layers that
    it adds to. It takes so many bytes of the device's memory as is its `size`."""

    number: int
    size: int
    layers: tuple[str, ...] = ()
    prefix: Prefix | None = None
    users: int = 0
    retired: bool = False


class Tunings:
    """Owned by the engine's thread. All of them together take at most `room` bytes; any number of
    them if that is None."""

    def __init__(self, model: PreTrainedModel, room: int | None = None) -> None:
        self._model: Any = model
        self._room = room
        self._loaded: dict[Adapter, Loaded] = {}
        self._additions: dict[str, tuple[Addition, RemovableHandle]] = {}
        self._mix = Mix()
        self._count = 0

    def load(self, adapter: Adapter, tuning: Tuning) -> None:
        """Bring it to the device; if that fails, nothing has changed. Raises OutOfMemory where it
        has no room."""
        size = tuning.size * self._model.dtype.itemsize
        self._check_room(size)
        self._count += 1
        if isinstance(tuning, Prefix):
            self._loaded[adapter] = Loaded(self._count, size, prefix=_placed(tuning, self._moved))
            return
        self._loaded[adapter] = Loaded(self._count, size, tuple(tuning.pairs), retired=True)
        try:
            for name, pair in tuning.pairs.items():
                moved = Pair(self._moved(pair.down), self._moved(pair.up))
                self._addition(name).put(adapter, self._count, moved)
        except BaseException:
            self._let_go(adapter)
            raise
        self._loaded[adapter].retired = False

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
        prefix = self._loaded[adapter].prefix
        assert prefix is not None, "only a prefix has entries"
        return prefix

    def numbers(self, own: Own, count: int) -> list[list[int]]:
        """What `mixed` is to be given of a step of `count` tokens, to be sent to the device."""
        return numbers(own, {adapter: self._loaded[adapter].number for adapter in own}, count)

    def mixed(self, own: Own, there: Sequence[Tensor], count: int) -> AbstractContextManager[None]:
        """While the block runs, each adapter adds to the outputs for its own tokens."""
        return self._mix.running(own, there, count)

    def _check_room(self, size: int) -> None:
        """Those that were unloaded count, too, until the last answer with them is written."""
        if self._room is None:
            return
        left = self._room - sum(loaded.size for loaded in self._loaded.values())
        if size > left:
            raise OutOfMemory(
                f"the adapter takes {size / MIB:.1f} MiB, and of {self._room / MIB:.1f} for "
                f"adapters {left / MIB:.1f} are left; unload another one first, or start the "
                "worker with a larger --adapter-memory",
                param="path",
            )

    def _addition(self, name: str) -> Addition:
        if name not in self._additions:
            addition = Addition(self._mix)
            handle = self._model.get_submodule(name).register_forward_hook(addition)
            self._additions[name] = addition, handle
        return self._additions[name][0]

    def _let_go(self, adapter: Adapter) -> None:
        loaded = self._loaded[adapter]
        if not loaded.retired or loaded.users:
            return
        del self._loaded[adapter]
        for name in loaded.layers:
            if name in self._additions:  # not those that a load which failed has not come to
                self._remove(name, adapter)

    def _remove(self, name: str, adapter: Adapter) -> None:
        addition, handle = self._additions[name]
        addition.remove(adapter)
        if not addition.pairs:
            handle.remove()
            del self._additions[name]

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the model's device, in its number format; raises BadRequest for what is no number in
        it, which would spoil whoever is in a step with it."""
        moved: Tensor = tensor.to(self._model.device, self._model.dtype)
        if not moved.isfinite().all():
            raise BadRequest(
                f"the adapter has weights that are no numbers in {self._model.dtype}", param="path"
            )
        return moved


def _placed(prefix: Prefix, moved: Callable[[Tensor], Tensor]) -> Prefix:
    keys, values = (tuple(map(moved, layers)) for layers in (prefix.keys, prefix.values))
    return Prefix(keys, values, prefix.first)
