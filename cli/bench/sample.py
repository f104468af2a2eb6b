"""What is noted of one request while it runs. Pure: the clock's readings come in from outside."""

from dataclasses import dataclass, field

from ...adapters.wire.generation import Usage


@dataclass(slots=True)
class Sample:
    """One request's life, in seconds of one clock. Owned by the task that makes the request.

    `due` is when it was to begin, whether or not there was room for it then; `texts` when a chunk
    with text came. `usage` is the server's own count, None where it gave none. A request that was
    neither answered nor refused has no `ended`.
    """

    due: float
    texts: list[float] = field(default_factory=list)
    ended: float | None = None
    usage: Usage | None = None
    finish: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.ended is not None and not self.error

    @property
    def output_tokens(self) -> int:
        """The server's count; where there is none, a chunk counts for a token."""
        return len(self.texts) if self.usage is None else self.usage.completion_tokens

    @property
    def first(self) -> float | None:
        """Seconds to the first text; None for an answer without any."""
        return self.texts[0] - self.due if self.texts else None

    @property
    def per_token(self) -> float | None:
        """Seconds a token after the first; None for an answer of fewer than two."""
        if self.output_tokens < 2 or len(self.texts) < 2:
            return None
        return (self.texts[-1] - self.texts[0]) / (self.output_tokens - 1)

    @property
    def gaps(self) -> list[float]:
        """Seconds from one chunk with text to the next."""
        return [b - a for a, b in zip(self.texts, self.texts[1:], strict=False)]
