"""Which adapters an engine has, by the names under which they are asked for. Knows no weights.

`chatglm2-6b:poet` is the adapter `poet` on the model that is served as `chatglm2-6b`.
"""

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from pathlib import Path

from ..adapters.errors import BadRequest, UnknownModel, shown
from .adapter import BASE, Adapter

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SEPARATOR = ":"

Load = Callable[[str, Path], "tuple[Adapter, Future[None]]"]


class Shelf:
    """Read by any thread. The table is replaced whole, so a reader sees an old or a new one.

    `load` gives an adapter and the promise that it can be used, `retire` makes it go once nobody
    uses it any more.
    """

    def __init__(
        self, bases: Sequence[str], load: Load, retire: Callable[[Adapter], object]
    ) -> None:
        self._bases = tuple(bases)
        self._load, self._retire = load, retire
        self._table: Mapping[str, Adapter] = {}
        self._coming: set[str] = set()
        self._changing = threading.Lock()  # guards the two above against a second writer
        self._listeners: list[Callable[[], object]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """All names that are served: the model's own, and of each with every adapter."""
        tuned = (
            f"{base}{SEPARATOR}{adapter}" for adapter in sorted(self._table) for base in self._bases
        )
        return (*self._bases, *tuned)

    def adapter(self, model: str | None) -> Adapter:
        """What is meant by a request for `model`; raises UnknownModel."""
        if model is None or model in self._bases:
            return BASE
        base, _, name = model.rpartition(SEPARATOR)
        found = self._table.get(name) if base in self._bases else None
        if found is None:
            ours = ", ".join(self.names)
            raise UnknownModel(f"this worker serves {ours}, not {shown(model)!r}", param="model")
        return found

    def load(self, name: str, path: Path) -> "Future[None]":
        """Read the adapter in the directory `path`, on the calling thread; kept once it is served.

        Raises BadRequest for a name that cannot be had, StartError for what lies in `path`.
        """
        self._reserve(name)
        try:
            adapter, placed = self._load(name, path)
        except BaseException:
            self._coming.discard(name)
            raise
        served: Future[None] = Future()
        placed.add_done_callback(lambda done: self._arrived(adapter, done, served))
        return served

    def unload(self, name: str) -> None:
        """From now on nobody gets it; those who have it finish with it. Raises UnknownModel."""
        with self._changing:
            adapter = self._table.get(name)
            if adapter is None:
                have = ", ".join(sorted(self._table)) or "none"
                raise UnknownModel(
                    f"no adapter {shown(name)!r} is loaded; there is {have}", param="name"
                )
            self._table = {n: a for n, a in self._table.items() if n != name}
        log.info("adapter unloaded name=%s", name)
        self._retire(adapter)
        self._tell()

    def listen(self, told: Callable[[], object]) -> None:
        """`told` is called after each change, on the thread that made it."""
        self._listeners.append(told)

    def _reserve(self, name: str) -> None:
        if NAME.fullmatch(name) is None:
            raise BadRequest(
                f"{shown(name)!r} cannot be an adapter's name: it takes letters, digits and ._- , "
                "at most 64 of them",
                param="name",
            )
        with self._changing:
            if name in self._table or name in self._coming:
                raise BadRequest(
                    f"an adapter {name!r} is loaded already; unload it first", param="name"
                )
            if taken := set(self._bases) & {f"{base}{SEPARATOR}{name}" for base in self._bases}:
                raise BadRequest(
                    f"{sorted(taken)[0]} is the model itself; choose another name", param="name"
                )
            self._coming.add(name)

    def _arrived(self, adapter: Adapter, placed: "Future[None]", served: "Future[None]") -> None:
        """It is on the device, or it could not be brought there."""
        error = placed.exception()
        with self._changing:
            self._coming.discard(adapter.name)
            if error is None:
                self._table = {**self._table, adapter.name: adapter}
        if error is None:
            log.info("adapter loaded name=%s entries=%d", adapter.name, adapter.entries)
            self._tell()
        with contextlib.suppress(InvalidStateError):  # who asked for it waits no more
            served.set_exception(error) if error else served.set_result(None)

    def _tell(self) -> None:
        for told in tuple(self._listeners):
            with contextlib.suppress(RuntimeError):  # a loop that has ended
                told()
