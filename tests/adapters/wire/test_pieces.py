"""A worker's frames as pieces, of both kinds; a short answer is never taken for a whole one."""

from typing import Any

import pytest

from danlu.adapters.errors import WorkerLost
from danlu.adapters.wire.pieces import LEAST, Frames, NewFrames, Piece, WholeFrames

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def whole(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"text": text, "error_code": 0, "usage": USAGE, "finish_reason": reason}


def new(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"delta": text, "error_code": 0, "usage": USAGE, "finish_reason": reason}


def test_new_text_is_passed_on_as_it_is() -> None:
    frames = NewFrames()
    assert frames.piece(new("\ufffd,")) == Piece("\ufffd,", None, None, None, 3, 2)
    assert frames.piece(new("", "length")).finish_reason == "length"
    frames.end()


def test_of_whole_texts_the_new_end_is_passed_on() -> None:
    frames = WholeFrames()
    pieces = [frames.piece(whole("你好,")), frames.piece(whole("你好，我", "stop"))]
    assert [piece.text for piece in pieces] == ["你好", "，我"]
    assert [piece.whole for piece in pieces] == ["你好,", "你好，我"]
    assert frames.end() is None


@pytest.mark.parametrize("frames", [NewFrames(), WholeFrames()])
def test_a_stream_without_a_reason_at_its_end_is_a_lost_worker(frames: Frames) -> None:
    frames.piece({**whole("a"), **new("a")})
    with pytest.raises(WorkerLost, match="in the middle of an answer"):
        frames.end()


@pytest.mark.parametrize("frames", [NewFrames(), WholeFrames()])
def test_a_stream_without_a_frame_is_a_lost_worker(frames: Frames) -> None:
    with pytest.raises(WorkerLost):
        frames.end()


def test_a_stock_worker_that_names_no_reasons_ends_well() -> None:
    """FastChat's huggingface_api_worker sends nothing but texts."""
    frames = WholeFrames()
    assert frames.piece({"text": "a,", "error_code": 0}).text == "a"
    assert frames.end() == Piece(",", "a,", None, "stop", 0, 0)


@pytest.mark.parametrize("frame", [{}, {"text": None, "delta": 5}])
def test_a_frame_without_a_text_is_a_lost_worker(frame: dict[str, Any]) -> None:
    for frames in (NewFrames(), WholeFrames()):
        with pytest.raises(WorkerLost, match="without"):
            frames.piece(frame)


def test_what_cannot_be_has_a_log_probability_that_json_can_spell() -> None:
    infinite = {
        "text_offset": [0, 1],
        "tokens": ["a", "b"],
        "token_logprobs": [None, float("-inf")],
        "top_logprobs": [None, {"b": float("-inf")}],
    }
    piece = NewFrames().piece({**new("ab"), "logprobs": infinite})
    assert piece.logprobs is not None
    assert piece.logprobs["token_logprobs"] == [None, LEAST]
    assert piece.logprobs["top_logprobs"] == [{}, {"b": LEAST}]


def test_cumulative_log_probabilities_come_once() -> None:
    frames = WholeFrames()
    one = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{}], "text_offset": [0]}
    first = frames.piece({**whole("a"), "logprobs": one})
    last = frames.piece({**whole("a", "stop"), "logprobs": one})
    assert first.logprobs is not None and last.logprobs is None


def test_what_a_worker_made_of_the_prompt_is_passed_on_as_it_is() -> None:
    told = [None, {"5": {"logprob": -0.5, "rank": 1, "decoded_token": "a"}}]
    for frames in (NewFrames(), WholeFrames()):
        first = frames.piece({**new("a"), **whole("a"), "prompt_logprobs": told})
        then = frames.piece({**new("b", "stop"), **whole("ab", "stop")})
        assert (first.prompt_logprobs, then.prompt_logprobs) == (told, None)
