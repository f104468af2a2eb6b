"""Server-sent events as the OpenAI wire uses them: bytes in, the text of `data:` lines out."""

from collections.abc import Iterator


class Decoder:
    """Feed it bytes as they arrive, cut anywhere; it gives back the data of every whole event.

    Of the format (WHATWG HTML, 9.2) it knows what a stream of chat chunks needs: several `data:`
    lines are one datum, comments and other fields are skipped.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for raw in whole:
            line = raw.removesuffix(b"\r").decode("utf-8", "replace")
            if not line:
                yield from self._close()
            elif line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))

    def _close(self) -> Iterator[str]:
        if self._data:
            yield "\n".join(self._data)
        self._data = []
