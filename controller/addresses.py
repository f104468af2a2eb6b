"""Addresses: a worker's, as it gives it, and the API's, as someone elsewhere can call it."""

import socket
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from ..adapters.errors import BadRequest
from ..adapters.host.serving import Tls

WILDCARDS = frozenset({"0.0.0.0", "::", ""})


def address_in(worker_name: str) -> str:
    """The base URL that a worker goes by; with a slash at its end it is the same worker."""
    return worker_name.rstrip("/")


def checked_address(worker_name: str) -> str:
    """The base URL of a worker that wants to join; raises BadRequest if nobody could call it."""
    address = address_in(worker_name)
    try:
        callable_ = _is_base(address)
    except ValueError:  # a port that is no number, or a name that no resolver takes
        callable_ = False
    if not callable_:
        raise BadRequest(
            f"'worker_name' is {worker_name!r}; it must be the worker's base URL, "
            "such as http://localhost:21002",
            param="worker_name",
        )
    return address


def _is_base(address: str) -> bool:
    """Whether routes can be added to `address`; raises ValueError for what is no URL at all."""
    where = urlsplit(address)
    host = (where.hostname or "").encode("idna")
    called = where.scheme in ("http", "https") and bool(host) and where.port != 0
    return called and not set("?#") & set(address)


@dataclass(frozen=True, slots=True)
class Place:
    """An address that is listened on."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, host: str, sock: socket.socket, tls: Tls | None) -> Self:
        """Where `sock`, bound to `host` and perhaps to any free port, listens."""
        return cls("https" if tls else "http", host, sock.getsockname()[1])

    def seen_by(self, asker: str) -> str:
        """The URL for someone who reached this machine as `asker`.

        A wildcard is no address that anyone can call; what the asker called is one.
        """
        host = asker if self.host in WILDCARDS else self.host
        return replace(self, host=host).url

    @property
    def url(self) -> str:
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
