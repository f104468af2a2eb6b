"""Hosts, ports and the URLs that they make."""

import pytest

from danlu.adapters.host.addresses import WILDCARDS, base_url, host_of, url


def test_an_address_of_version_six_is_in_brackets_once() -> None:
    assert url("::1", 80) == url("[::1]", 80) == "http://[::1]:80"
    assert url("gpu7", 80, tls=True) == "https://gpu7:80"


def test_the_host_of_a_url_has_no_brackets() -> None:
    assert host_of("http://[::1]:80") == "::1"
    assert host_of("http://gpu7/danlu") == "gpu7"


def test_what_listens_everywhere_is_reached_here() -> None:
    assert url(WILDCARDS["0.0.0.0"], 1) == "http://127.0.0.1:1"
    assert url(WILDCARDS["::"], 1) == "http://[::1]:1"


@pytest.mark.parametrize("text", ["http://w", "https://w:1", "http://[::1]:2", "http://w:1/danlu"])
def test_a_base_url_loses_its_last_slash_only(text: str) -> None:
    assert base_url(text) == base_url(f"{text}/") == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "w", "localhost:21002", "ftp://w", "http://", "http://:5", "http:///path"),
        *("http://w:0", "http://w:x", "http://w:70000", "http://[::1", "http://w:1/?a=b"),
        *("http://w:1#a", "http://w :1", "http://w:1\n", f"http://{'a' * 64}"),
    ],
)
def test_what_nobody_could_call_is_no_base_url(text: str) -> None:
    assert base_url(text) is None
