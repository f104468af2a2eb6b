"""Hosts, ports and the URLs that they make. Pure: asks no name server and opens no socket."""

from urllib.parse import urlsplit

from ..errors import StartError

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
        host = (where.hostname or "").encode("idna")
        callable_ = where.scheme in ("http", "https") and host and where.port != 0
    except ValueError:  # a port that is no number, an open bracket, a name that no resolver takes
        return None
    if not callable_ or any(c.isspace() or c in "?#" for c in text):
        return None
    return text.rstrip("/")


def given_url(flag: str, text: str) -> str:
    """The base URL that `flag` was given; raises StartError for one that nobody could call."""
    base = base_url(text)
    if base is None:
        raise StartError(f"{flag} wants a URL such as http://10.0.0.1:21001, not {text!r}")
    return base
