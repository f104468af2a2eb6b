"""Reports how far transformers is with a model's weights, in place of its own progress bars."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging as transformers_logging

Report = Callable[[float, str], None]


@contextmanager
def reported(report: Report) -> Iterator[None]:
    """Within the block, every progress bar of this thread reports its fraction instead of drawing.

    The hook is one for the whole process: bars of other threads are drawn as they would have been.
    """
    thread = threading.get_ident()

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != thread:
            return factory(*args, **kwargs)
        return Bar(report, *args, **kwargs)

    previous = transformers_logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(previous)


class Bar:
    """What transformers uses of a tqdm, drawn by nobody."""

    def __init__(
        self,
        report: Report,
        iterable: Any = None,
        desc: str | None = None,
        total: int | None = None,
        **_: Any,
    ) -> None:
        self._report = report
        self._iterable = iterable
        self._desc = (desc or "").rstrip(". ").lower()
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        self.n = 0

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def update(self, n: int = 1) -> None:
        self.n += n
        if self.total:
            self._report(min(1.0, self.n / self.total), self._desc)

    def set_description(self, desc: str = "", refresh: bool = True) -> None:
        self._desc = desc.rstrip(": .").lower()

    def set_postfix(self, *_: object, **__: object) -> None:
        """Details that nobody is shown."""

    def refresh(self) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Nothing was opened."""
