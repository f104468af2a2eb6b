"""Frames come out whole, wherever the bytes were cut."""

import json

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import WorkerLost
from danlu.adapters.wire.frames import MAX_FRAME, Decoder, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
frames = st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=5)


@given(frames, st.data())
def test_frames_cut_anywhere_come_out_whole(
    told: list[dict[str, object]], data: st.DataObject
) -> None:
    raw = b"".join(map(encode, told))
    places = data.draw(st.lists(st.integers(0, len(raw)), max_size=10).map(sorted))
    decoder, heard = Decoder(), list[dict[str, object]]()
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        heard += decoder.feed(raw[start:end])
    assert heard == told
    assert decoder.rest == b""


def test_a_frame_is_ascii_and_ends_with_a_zero_byte() -> None:
    assert encode({"text": "你\0"}) == b'{"text": "\\u4f60\\u0000"}\0'


def test_a_frame_is_given_as_soon_as_it_is_whole() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b'{"a": 1}\0{"b"')) == [{"a": 1}]
    assert decoder.rest == b'{"b"'
    assert list(decoder.feed(b": 2}")) == []
    assert list(decoder.feed(b"\0")) == [{"b": 2}]


def test_empty_frames_are_passed_over() -> None:
    assert list(Decoder().feed(b"\0\0" + encode({}) + b"\0")) == [{}]


def test_bytes_that_come_one_by_one_cost_no_quadratic_time() -> None:
    """1 MB of one frame in 16-byte chunks: joining what is there at each would move 32 GB."""
    frame = encode({"text": "x" * 1_000_000})
    decoder = Decoder()
    chunks = (frame[i : i + 16] for i in range(0, len(frame), 16))
    assert [json.dumps(f)[:9] for chunk in chunks for f in decoder.feed(chunk)] == ['{"text": ']


@pytest.mark.parametrize(
    "raw", [b"oops\0", b"\xff\0", b"[1]\0", b'"a"\0', b"{\0", b"[" * 5000 + b"\0"]
)
def test_what_is_no_json_object_is_a_lost_worker(raw: bytes) -> None:
    with pytest.raises(WorkerLost, match="the worker sent a frame that is no"):
        list(Decoder().feed(raw))


def test_a_frame_without_an_end_is_a_lost_worker() -> None:
    decoder = Decoder()
    chunk = b"x" * (MAX_FRAME // 4)
    for _ in range(4):
        assert list(decoder.feed(chunk)) == []
    with pytest.raises(WorkerLost, match="larger than"):
        list(decoder.feed(b"x"))
