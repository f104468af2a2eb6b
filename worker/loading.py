"""Where a worker's model stands: loading, ready or stopping. Loads nothing by itself."""

from collections.abc import Callable
from typing import Literal

from ..adapters.errors import NotReady, stopping
from .engine import AnyEngine

State = Literal["loading", "ready", "stopping"]
Show = Callable[[float, str], None]


def in_silence(fraction: float, detail: str) -> None:
    """Shows nobody how far the loading is."""


class Progress:
    """How far the loading is. The loading thread writes it, everybody reads it.

    Each fact is one attribute that is replaced whole, so a reader sees an old or a new one, never
    half of one. `show` is called by the writer, on its thread.
    """

    def __init__(self, show: Show = in_silence) -> None:
        self._show = show
        self.fraction = 0.0
        self.detail = ""
        self.state: State = "loading"

    def set(self, fraction: float, detail: str = "") -> None:
        """`fraction` of the work is done, between 0 and 1; it never falls."""
        self.fraction = max(self.fraction, min(1.0, fraction))
        self.detail = detail
        self._show(self.fraction, detail)


class Loading:
    """The engine, once it is there. Owned by the event loop."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or Progress()
        self._engine: AnyEngine | None = None

    @property
    def engine(self) -> AnyEngine:
        """The engine that takes requests; raises NotReady before it is loaded and once it stops."""
        if self._engine is None or self.progress.state == "stopping":
            raise self.refusal()
        return self._engine

    def refusal(self) -> NotReady:
        """Why there is no engine to take a request."""
        progress = self.progress
        if progress.state == "stopping":
            return stopping()
        done = f"{progress.fraction:.0%}" + (f", {progress.detail}" if progress.detail else "")
        return NotReady(f"the model is still loading ({done}); try again soon", retry_after=5)

    def finish(self, engine: AnyEngine) -> None:
        """The engine is loaded: serve it."""
        assert self._engine is None, "a worker loads one engine"
        self._engine = engine
        self.progress.fraction, self.progress.detail = 1.0, ""
        if self.progress.state == "loading":
            self.progress.state = "ready"

    def stop(self) -> None:
        """Take nothing new from now on."""
        self.progress.state = "stopping"
        self.progress.detail = ""


def loaded(engine: AnyEngine) -> Loading:
    """A worker whose engine is there already."""
    loading = Loading()
    loading.finish(engine)
    return loading
