"""A recorder for the host that keeps to the rules of a card's: what it notes it does again on the
same memory, and none of Python with it."""

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from danlu.adapters.devices.device import Recorder, Replay

# What waits for the device, or brings numbers from the host: `torch.tensor` ends in the second.
REFUSED = {
    "aten::_local_scalar_dense",
    "aten::lift_fresh",
    "aten::is_nonzero",
    "aten::nonzero",
    "aten::equal",
}
GARBAGE = 0xFF  # a byte of which floats are no numbers, and indices are illegal


class Addresses:
    """Memory that others own, and may let go of."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Tensor, Any]] = {}

    def of(self, tensor: Tensor) -> Tensor:
        """The same memory, of which nothing is kept but where it is."""
        at, size = _at(tensor), tensor.untyped_storage().nbytes()
        if not size:
            return tensor
        if at not in self._known:
            whole = torch.frombuffer((ctypes.c_char * size).from_address(at), dtype=torch.uint8)
            owner = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
            self._known[at] = whole, owner
        storage = self._known[at][0].untyped_storage()
        place = (tensor.storage_offset(), tensor.shape, tensor.stride())
        return torch.empty(0, dtype=tensor.dtype).set_(storage, *place)

    def check(self) -> None:
        for _, owner in self._known.values():
            assert not owner.expired(), "memory of a recording was given back"


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations and does none: what was there stays as it is, and what is made holds
    garbage. `play` does them, and leaves garbage in all that was made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._made: dict[int, Tensor] = {}
        self._others = Addresses()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.name in REFUSED:
            raise RuntimeError(f"{func} is not permitted while work is recorded")
        out = _undone(func, args, kwargs)
        given = {_at(x) for x in _tensors((args, kwargs))}
        new = [x for x in _tensors(out) if _at(x) not in given]
        self._made.update({_at(x): x for x in new})
        self._calls.append(
            (func, *tree_map_only(Tensor, self._kept, (args, kwargs, _tensors(out))))
        )
        self._spoil(new)
        return out

    def _kept(self, tensor: Tensor) -> Tensor:
        return tensor if _at(tensor) in self._made else self._others.of(tensor)

    def play(self) -> None:
        self._others.check()
        with torch.inference_mode():
            for func, args, kwargs, outs in self._calls:
                found = _tensors(func(*args, **kwargs))
                for out, new in zip(outs, found, strict=True):
                    if _at(out) != _at(new):
                        assert out.shape == new.shape, f"{func} gave another shape"
                        out.copy_(new)
            self._spoil(self._made.values())

    def _spoil(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            whole = torch.empty(0, dtype=torch.uint8)
            whole.set_(tensor.untyped_storage()).fill_(GARBAGE)


class HostRecorder:
    """Records on the host."""

    def record(self, work: Callable[[], None]) -> Replay:
        tape = Tape()
        with tape:
            work()
        return tape.play


class Counted:
    """A recorder that counts recordings and replays, and calls `before` before each of these. It
    fails at the recording of number `fails_at`, if one is named."""

    def __init__(self, recorder: Recorder, fails_at: int | None = None) -> None:
        self._recorder, self._fails_at = recorder, fails_at
        self.recordings = self.replays = 0
        self.before: Callable[[], object] = lambda: None

    def record(self, work: Callable[[], None]) -> Replay:
        if self.recordings + 1 == self._fails_at:
            raise RuntimeError("an operator cannot be recorded")
        replay = self._recorder.record(work)
        self.recordings += 1

        def counted() -> None:
            self.before()
            self.replays += 1
            replay()

        return counted


def _tensors(values: Any) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor)]


def _undone(func: Any, args: Any, kwargs: Any) -> Any:
    """What `func` returns, but for the numbers in it. Views, and what is made of no tensor, are
    safe to ask for."""
    changed = _changed(func, args, kwargs)
    if changed:
        assert len(func._schema.returns) <= 1
        return changed[0]
    views = any(returned.alias_info is not None for returned in func._schema.returns)
    if views or not _tensors((args, kwargs)):
        return func(*args, **kwargs)
    shapes = tree_map_only(Tensor, lambda x: _like(x, "meta"), (args, kwargs))
    return tree_map_only(Tensor, lambda x: _like(x, "cpu"), func(*shapes[0], **shapes[1]))


def _like(tensor: Tensor, device: str) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)


def _changed(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that `func` changes in place."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += _tensors(value)
    return found


def _at(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
