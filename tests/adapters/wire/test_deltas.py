"""Cumulative texts come out append-only, and nothing is lost or said twice."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.wire.deltas import HALF, MARKER, Deltas, LogprobDeltas, certain

GOLDEN = Path(__file__).parents[2] / "golden" / "fastchat_traces.jsonl"
FULL = dict(zip(",!:;?", "，！：；？", strict=True))


def said(texts: list[str]) -> list[str]:
    deltas = Deltas()
    return [deltas.feed(text, final=n == len(texts)) for n, text in enumerate(texts, 1)]


def test_the_golden_stream_comes_out_whole() -> None:
    lines = map(json.loads, GOLDEN.read_text(encoding="utf-8").splitlines())
    (trace,) = [line for line in lines if line["case"] == "worker_generate_stream"]
    texts = [json.loads(frame)["text"] for frame in trace["body"].split("\0") if frame]
    assert "".join(said(texts)) == "你好，我😊2023年。"
    assert said(texts) == ["你", "好", "", "，我", "", "😊", "", "2023年。", ""]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("hello", ""),
        ("hello,", ","),
        ("hello, ", ""),
        ("你好" + HALF, HALF),
        ("你好" + HALF * 3, HALF * 3),
        ("a," + HALF, "," + HALF),
        ("[[训练时间]", "[[训练时间]"),
        ("[[[训", "[[训"),
        ("[[训练时间]]", ""),
        ("a[", "["),
        ("[[训" + HALF, "[[训" + HALF),
        (HALF + "a", ""),
        ("", ""),
    ],
)
def test_what_can_still_change_is_held_back(text: str, kept: str) -> None:
    assert text[certain(text) :] == kept


def test_the_last_text_is_sent_to_its_end() -> None:
    assert said(["hi", "hi!" + HALF]) == ["hi", "!" + HALF]


def test_a_text_that_changed_where_it_was_sent_goes_on_behind_it() -> None:
    assert said(["abc", "aXcd"]) == ["abc", "d"]
    assert said(["abc", "a", "abcd"]) == ["abc", "", "d"]


def chatglm(raw: bytes) -> str:
    """What FastChat makes of ChatGLM's bytes so far, in words of its own (fastchat.md §4.3)."""
    text = raw.decode("utf-8", "replace").strip().replace(MARKER, "2023年")
    for narrow, wide in FULL.items():
        text = re.sub(rf"([\u4e00-\u9fff])\{narrow}", rf"\1{wide}", text)
        text = re.sub(rf"\{narrow}([\u4e00-\u9fff])", rf"{wide}\1", text)
    return text


tokens = st.lists(
    st.sampled_from(
        [*",!:;?", "[", "[[", "训练", "时间", "]]", "我", "你好", "a", " ", "\n", "😊", "1"]
    )
)


@given(tokens, st.data())
def test_chatglms_texts_cut_anywhere_come_out_whole(parts: list[str], data: st.DataObject) -> None:
    raw = "".join(parts).encode()
    places = data.draw(st.lists(st.integers(0, len(raw)), max_size=8).map(sorted))
    texts = [chatglm(raw[:place]) for place in [*places, len(raw)]]
    assert "".join(said(texts)) == texts[-1]


@given(st.text(), st.data())
def test_an_append_only_text_cut_anywhere_comes_out_whole(text: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    assert "".join(said([*(text[:place] for place in places), text])) == text


def test_only_new_logprobs_are_given() -> None:
    deltas = LogprobDeltas()
    one: dict[str, Any] = {
        "tokens": ["a"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{}],
        "text_offset": [0],
    }
    two = {**{k: [*v, *v] for k, v in one.items()}, "tokens": ["a", "b"], "text_offset": [0, 1]}
    assert deltas.feed(None) is None
    assert deltas.feed(one) == one
    assert deltas.feed(one) is None
    assert deltas.feed(two) == {**one, "tokens": ["b"], "text_offset": [1]}
