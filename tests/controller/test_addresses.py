"""Addresses: which a worker may go by, and where the API is for someone elsewhere."""

import pytest

from danlu.adapters.errors import BadRequest
from danlu.controller.addresses import BoundAddress, address_in, checked_address


def test_a_slash_at_the_end_makes_no_other_worker() -> None:
    assert checked_address("http://w:21002/") == address_in("http://w:21002") == "http://w:21002"


@pytest.mark.parametrize("name", ["http://w", "https://w:1", "http://[::1]:21002", "http://w/a"])
def test_a_base_url_is_taken(name: str) -> None:
    assert checked_address(name) == name


LONG = "http://" + "w" * 64  # a label of a name has at most 63 characters


@pytest.mark.parametrize(
    "name",
    [
        *("w", "localhost:21002", "ftp://w", "http://", "/", "http://w:0", "http://w:x"),
        *("http://w..x:1", LONG, "http://w?", "http://w#a"),
    ],
)
def test_what_nobody_could_call_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(BadRequest, match="base URL, such as http://localhost:21002") as caught:
        checked_address(name)
    assert repr(name) in str(caught.value)
    assert caught.value.param == "worker_name"


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_wildcard_is_where_the_asker_found_us(wildcard: str) -> None:
    bound = BoundAddress(wildcard, 8000)
    assert bound.seen_by("furnace.lan") == "http://furnace.lan:8000"
    assert bound.seen_by("::1") == bound.seen_by("[::1]") == "http://[::1]:8000"


def test_any_other_host_is_as_it_was_bound() -> None:
    assert (
        BoundAddress("localhost", 8000, tls=True).seen_by("furnace.lan") == "https://localhost:8000"
    )
