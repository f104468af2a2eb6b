"""Where others reach this worker, when nobody has said so: `--worker-address` by derivation.

A worker is known by its URL, so it must be one that the controller, and every API server that the
controller sends here, can call. A host that was named is taken at its word. A wildcard is no
address: with all controllers on this machine it becomes 127.0.0.1, otherwise the address that this
machine has towards the controllers, and its host name if there is no way to them yet.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence

from ..adapters.host.addresses import LOOPBACK, WILDCARDS, host_of, url

ANY_PORT = 9  # discard: nothing is sent, the system only has to pick a way

Route = Callable[[str], str | None]


def route_to(host: str) -> str | None:
    """The address that this machine would speak to `host` from; None if it knows no way."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, ANY_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sock:
            sock.connect(address)
            own: str = sock.getsockname()[0]
            return own
    except OSError:
        return None


def derived_address(
    host: str, port: int, *, tls: bool, controllers: Sequence[str], route: Route = route_to
) -> str:
    """The base URL of what listens on `host` and `port`."""
    if host in WILDCARDS:
        host = _own_address(controllers, route)
    return url(host, port, tls=tls)


def unreachable_for(address: str, controllers: Sequence[str]) -> list[str]:
    """The controllers on other machines, if `address` is one that only this machine reaches."""
    if not is_loopback(host_of(address)):
        return []
    return [c for c in controllers if not is_loopback(host_of(c))]


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, as seen from itself only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_address(controllers: Sequence[str], route: Route) -> str:
    distant = [h for h in map(host_of, controllers) if not is_loopback(h)]
    if not distant:
        return LOOPBACK
    return next((own for own in map(route, distant) if own), None) or socket.gethostname()
