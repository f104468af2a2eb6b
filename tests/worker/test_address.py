"""Where others reach a worker that was told only where to listen."""

import socket

import pytest

from danlu.worker.address import derived_address, is_loopback, route_to, unreachable_for

NEAR, FAR = "http://localhost:21001", "http://10.1.2.3:21001"


def derived(
    host: str, *controllers: str, tls: bool = False, own: str | None = "192.168.7.7"
) -> str:
    return derived_address(
        host, 21002, tls=tls, controllers=controllers or (NEAR,), route=lambda _: own
    )


def test_the_default_is_fastchats() -> None:
    assert derived("localhost") == "http://localhost:21002"


def test_a_host_that_was_named_is_taken_at_its_word() -> None:
    assert derived("gpu7.example", FAR) == "http://gpu7.example:21002"
    assert derived("fe80::1", FAR) == "http://[fe80::1]:21002"


def test_https_is_in_the_address() -> None:
    assert derived("localhost", tls=True) == "https://localhost:21002"


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", ""])
def test_a_wildcard_is_this_machine_where_the_controller_is_here(wildcard: str) -> None:
    assert derived(wildcard, NEAR, "http://[::1]:3") == "http://127.0.0.1:21002"


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", ""])
def test_a_wildcard_is_the_way_to_a_controller_elsewhere(wildcard: str) -> None:
    assert derived(wildcard, NEAR, FAR) == "http://192.168.7.7:21002"


def test_without_a_way_to_the_controller_it_is_the_hosts_name() -> None:
    assert derived("0.0.0.0", FAR, own=None) == f"http://{socket.gethostname()}:21002"


def test_the_system_knows_the_way_to_itself() -> None:
    assert route_to("127.0.0.1") == "127.0.0.1"


def test_there_is_no_way_to_a_name_that_does_not_exist() -> None:
    assert route_to("no.such.host.invalid") is None


def test_a_controller_elsewhere_cannot_reach_a_loopback_address() -> None:
    assert unreachable_for("http://localhost:21002", (NEAR, FAR)) == [FAR]
    assert unreachable_for("http://192.168.7.7:21002", (NEAR, FAR)) == []
    assert unreachable_for("http://127.0.0.1:21002", (NEAR,)) == []


def test_loopback_has_several_spellings() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1"))
    assert not any(is_loopback(host) for host in ("10.0.0.1", "gpu7", ""))
