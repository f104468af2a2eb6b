"""Hosts, ports and the URLs that they make. Pure: asks no name server and opens no socket."""

from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
# What listens on every network of a machine: where that machine itself reaches it.
WILDCARDS = {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}


def url(host: str, port: int, *, tls: bool = False) -> str:
    """The base URL of what listens on `host` and `port`."""
    bare = host.removeprefix("[").removesuffix("]")
    written = f"[{bare}]" if ":" in bare else bare
    return f"{'https' if tls else 'http'}://{written}:{port}"


def host_of(base: str) -> str:
    """The host of a base URL."""
    return urlsplit(base).hostname or ""


def base_url(text: str) -> str | None:
    """The base URL that `text` spells, without its last slash; None if nobody could call it."""
    try:
        where = urlsplit(text)
        callable_ = where.scheme in ("http", "https") and where.hostname and where.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return None
    if not callable_ or where.query or where.fragment or any(map(str.isspace, text)):
        return None
    return text.rstrip("/")
