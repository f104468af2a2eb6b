"""Server-sent events, cut anywhere."""

import itertools

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.wire.sse_reader import Decoder

TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(data=st.lists(TEXT, max_size=5), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_the_data_come_out_wherever_the_bytes_are_cut(data: list[str], cuts: list[int]) -> None:
    raw = "".join(f"data: {datum}\n\n" for datum in data).encode()
    bounds = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    decoder = Decoder()
    out = [d for a, b in itertools.pairwise(bounds) for d in decoder.feed(raw[a:b])]
    assert out == data


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: a\r\n\r\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b": keep alive\n\ndata: a\n\n", ["a"]),
        (b"event: x\nid: 1\ndata: a\ndata: b\n\n", ["a\nb"]),
        (b"data: unfinished\n", []),
        (b"\n\n\n", []),
    ],
)
def test_what_else_the_format_allows(raw: bytes, data: list[str]) -> None:
    assert list(Decoder().feed(raw)) == data
