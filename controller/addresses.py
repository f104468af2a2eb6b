"""Addresses: a worker's, as it gives it, and the API's, as someone elsewhere can call it."""

import socket
from dataclasses import dataclass, replace
from typing import Self

from ..adapters.errors import BadRequest
from ..adapters.host.addresses import WILDCARDS, base_url, url
from ..adapters.host.serving import Tls


def address_in(worker_name: str) -> str:
    """The base URL that a worker goes by; with a slash at its end it is the same worker."""
    return worker_name.rstrip("/")


def checked_address(worker_name: str) -> str:
    """The base URL of a worker that wants to join; raises BadRequest if nobody could call it."""
    address = base_url(worker_name)
    if address is None:
        raise BadRequest(
            f"'worker_name' is {worker_name!r}; it must be the worker's base URL, "
            "such as http://localhost:21002",
            param="worker_name",
        )
    return address


@dataclass(frozen=True, slots=True)
class BoundAddress:
    """An address that is listened on."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def of(cls, host: str, sock: socket.socket, tls: Tls | None) -> Self:
        """Where `sock`, bound to `host` and perhaps to any free port, listens."""
        return cls(host, sock.getsockname()[1], tls is not None)

    def seen_by(self, asker: str) -> str:
        """The URL for someone who reached this machine as `asker`.

        A wildcard is no address that anyone can call; what the asker called is one.
        """
        host = asker if self.host in WILDCARDS else self.host
        return replace(self, host=host).url

    @property
    def url(self) -> str:
        return url(self.host, self.port, tls=self.tls)
