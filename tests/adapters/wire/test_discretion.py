"""Strangers' words lose addresses, folders and tracebacks, and keep what they mean."""

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.wire.discretion import discreet

PLACES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.tuples(st.ip_addresses(v=4), st.integers(1, 65535)).map(lambda p: f"{p[0]}:{p[1]}"),
    st.tuples(st.ip_addresses(v=6), st.integers(1, 65535)).map(lambda p: f"[{p[0]}]:{p[1]}"),
    st.integers(10, 65535).map(lambda port: f"localhost:{port}"),
    st.integers(10, 65535).map(lambda port: f"node-3.cluster.internal:{port}"),
    st.integers(1, 65535).map(lambda port: f"http://node3:{port}/worker_generate_stream"),
)


@given(
    st.sampled_from(["", "no answer from ", "(", "'", "to: "]),
    PLACES,
    st.sampled_from(["", ".", " is gone", ")", "'", ": refused", ", it seems"]),
)
def test_an_address_is_gone_and_what_stands_around_it_stays(
    before: str, place: str, after: str
) -> None:
    assert discreet(before + place + after).strip() == (before + "an address" + after).strip()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (
            "HTTPConnectionPool(host='10.0.0.7', port=80): gone",
            "HTTPConnectionPool(an address): gone",
        ),
        (
            "Cannot connect to host node3:21002 ssl:default",
            "Cannot connect to host an address ssl:default",
        ),
        ("Connect call failed ('::1', 21002, 0, 0)", "Connect call failed an address"),
        ("Connect call failed ('127.0.0.1', 21002)", "Connect call failed an address"),
        ("redis://:secret@cache:6379/0 refuses", "an address refuses"),
        ("cannot open /home/me/models/glm/config.json", "cannot open config.json"),
        ("'~/.cache/danlu/x.so' is gone", "'x.so' is gone"),
        ('first\n  File "/usr/lib/x.py", line 3', "first"),
        (
            "Traceback (most recent call last):\n  File \"/x/y.py\"\nKeyError: 'a'\n",
            "KeyError: 'a'",
        ),
        ("", ""),
    ],
)
def test_what_is_hidden_in_the_forms_that_libraries_have(words: str, left: str) -> None:
    assert discreet(words) == left


@pytest.mark.parametrize(
    "words",
    [
        "npu:0 is out of memory; ask for fewer tokens, or try again later",
        "CUDA out of memory. Tried to allocate 2.00 MiB (GPU 0; 1.5 GiB total)",
        "the worker has no /count_token",
        "attention.py:387 fails and 1/2/3 or and/or/else stay",
        "NPU function error: f, error code is 507015; that is: the card stopped 设备已停止",
        "an operator crashed on the card; try `grep -rn ERROR ~/ascend/log/debug/plog | head`",
        "torch 2.1.0 needs 10:30 hours at 3.5 tokens/s",
    ],
)
def test_what_names_no_place_stays_as_it_is(words: str) -> None:
    assert discreet(words) == words


@given(st.text())
def test_any_words_are_one_line(words: str) -> None:
    assert len(discreet(words).splitlines()) <= 1
