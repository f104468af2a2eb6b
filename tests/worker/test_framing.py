"""Pieces into frames: whichever kind is asked for, and however often, the text comes out whole."""

import dataclasses
import json
from typing import Any

from hypothesis import given, strategies as st

from danlu.adapters.wire.generation import Logprobs, PromptLogprob, PromptLogprobs, Usage
from danlu.worker.framing import Framer
from danlu.worker.job import Piece

OF_THE_PROMPT: PromptLogprobs = [
    None,
    {7: PromptLogprob(logprob=-0.5, rank=2, decoded_token="a")},
]
TEXTS = st.lists(st.text(max_size=4), min_size=1, max_size=20)


def told(texts: list[str], *, logprobs: bool = False) -> list[Piece]:
    """A piece a text, a token each; the last one ends."""
    last = len(texts) - 1
    return [
        Piece(
            text,
            Usage(prompt_tokens=3, completion_tokens=i + 1, total_tokens=i + 4),
            an_entry(i) if logprobs else None,
            "stop" if i == last else None,
        )
        for i, text in enumerate(texts)
    ]


def an_entry(place: int) -> Logprobs:
    return Logprobs(
        text_offset=[place], tokens=[f"t{place}"], token_logprobs=[-1.0], top_logprobs=[None]
    )


def framed(framer: Framer, pieces: list[Piece]) -> list[dict[str, Any]]:
    return [frame for frame in map(framer.take, pieces) if frame is not None]


@given(texts=TEXTS)
def test_cumulative_frames_only_grow_and_end_whole(texts: list[str]) -> None:
    frames = framed(Framer(), told(texts))
    shown = [frame["text"] for frame in frames]
    assert all(b.startswith(a) for a, b in zip(shown, shown[1:], strict=False))
    assert shown[-1] == "".join(texts)
    assert [f["finish_reason"] for f in frames] == [None] * (len(frames) - 1) + ["stop"]


@given(texts=TEXTS)
def test_deltas_put_together_are_the_text(texts: list[str]) -> None:
    frames = framed(Framer(delta=True), told(texts))
    assert "".join(frame["delta"] for frame in frames) == "".join(texts)
    assert all("text" not in frame for frame in frames)


@given(texts=TEXTS, delta=st.booleans(), whole=st.booleans())
def test_log_probabilities_lose_no_token(texts: list[str], delta: bool, whole: bool) -> None:
    framer = Framer(delta=delta, logprobs=True, whole=whole)
    frames = framed(framer, told(texts, logprobs=True))
    tokens = [token for f in frames for token in f["logprobs"]["tokens"]]
    every = [f"t{i}" for i in range(len(texts))]
    assert (tokens if delta else frames[-1]["logprobs"]["tokens"]) == every


def test_whole_is_one_frame_that_has_it_all() -> None:
    (delta,) = framed(Framer(delta=True, whole=True), told(["a", "b", "c"]))
    (text,) = framed(Framer(whole=True), told(["a", "b", "c"]))
    assert (delta["delta"], text["text"]) == ("abc", "abc")
    assert delta["usage"] == text["usage"]


def test_the_keys_stand_in_fastchats_order() -> None:
    (frame,) = framed(Framer(logprobs=True), told(["a"], logprobs=True))
    assert list(frame) == ["text", "error_code", "usage", "finish_reason", "logprobs"]
    assert list(frame["usage"]) == ["prompt_tokens", "completion_tokens", "total_tokens"]


def test_log_probabilities_are_absent_unless_asked_for() -> None:
    (frame,) = framed(Framer(), told(["a"], logprobs=True))
    assert "logprobs" not in frame


@given(texts=TEXTS, delta=st.booleans(), whole=st.booleans())
def test_what_was_made_of_the_prompt_is_in_the_first_frame_alone(
    texts: list[str], delta: bool, whole: bool
) -> None:
    first, *rest = told(texts)
    pieces = [dataclasses.replace(first, prompt_logprobs=OF_THE_PROMPT), *rest]
    frames = framed(Framer(delta=delta, whole=whole), pieces)
    assert json.loads(json.dumps(frames[0]))["prompt_logprobs"] == [
        None,
        {"7": {"logprob": -0.5, "rank": 2, "decoded_token": "a"}},
    ]
    assert not any("prompt_logprobs" in frame for frame in frames[1:])
