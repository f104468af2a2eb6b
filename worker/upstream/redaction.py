"""What clients do not learn of an upstream: its address, and any part of the worker's key. Pure."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PIECE = 4  # characters of a key in a row that are not shown; LiteLLM quotes the last four
STRUCK = "***"


@dataclass(frozen=True, slots=True)
class Redaction:
    """`name` is what clients know the upstream by; it stands where its address stood."""

    name: str = "the upstream"
    url: str = ""
    key: str = field(default="", repr=False)

    def for_clients(self, words: str) -> str:
        """The words without key and address."""
        words = self.for_the_log(words)
        for address in self._addresses():
            words = re.sub(address, lambda _: self.name, words)
        return words

    def for_the_log(self, words: str) -> str:
        """The words without any piece of the key."""
        length = min(PIECE, len(self.key))
        if not length:
            return words
        pieces = {self.key[at : at + length] for at in range(len(self.key) - length + 1)}
        starts = [at for at in range(len(words)) if words[at : at + length] in pieces]
        hidden = {at + offset for at in starts for offset in range(length)}
        marked = "".join("\0" if at in hidden else one for at, one in enumerate(words))
        return re.sub("\0+", STRUCK, marked)

    def path_of(self, url: str) -> str:
        """Of a URL at the upstream what stands behind its base, or behind its root."""
        return url.removeprefix(self.url).removeprefix(self.url.removesuffix("/v1"))

    def _addresses(self) -> tuple[str, ...]:
        """Patterns: a URL to its end, and host and port. A host alone may be an ordinary word."""
        if not self.url:
            return ()
        where = urlsplit(self.url)
        host = where.netloc.rpartition("@")[2]
        whole = rf"{where.scheme}://([^\s/@]*@)?{re.escape(host)}(?![\w.:-])[^\s\"'<>)]*(?<![.,:;])"
        return (whole, rf"(?<![\w.-]){re.escape(host)}(?!\w)") if where.port else (whole,)
