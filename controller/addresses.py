"""Addresses: a worker's, as it gives it, and the API's, as someone elsewhere can call it."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ..adapters.errors import BadRequest

WILDCARDS = frozenset({"0.0.0.0", "::", ""})


def address_in(worker_name: str) -> str:
    """The base URL that a worker goes by; with a slash at its end it is the same worker."""
    return worker_name.rstrip("/")


def checked_address(worker_name: str) -> str:
    """The base URL of a worker that wants to join; raises BadRequest if nobody could call it."""
    address = address_in(worker_name)
    try:
        where = urlsplit(address)
        callable_ = where.scheme in ("http", "https") and where.hostname and where.port != 0
    except ValueError:  # a port that is no number
        callable_ = False
    if not callable_:
        raise BadRequest(
            f"'worker_name' is {worker_name!r}; it must be the worker's base URL, "
            "such as http://localhost:21002",
            param="worker_name",
        )
    return address


@dataclass(frozen=True, slots=True)
class Place:
    """An address that is listened on."""

    scheme: str
    host: str
    port: int

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
