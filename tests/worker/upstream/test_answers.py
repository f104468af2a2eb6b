"""Events of an upstream become pieces; an answer that is not whole is an error."""

import json
from typing import Any

import pytest

from danlu.adapters.errors import (
    NotReady,
    OutOfMemory,
    PromptTooLong,
    ServeError,
    WorkerLost,
)
from danlu.worker.job import Piece
from danlu.worker.upstream.answers import DONE, Answer
from danlu.worker.upstream.asking import UpstreamJob
from danlu.worker.upstream.faults import notes
from danlu.worker.upstream.redaction import Redaction


def a_job(**more: Any) -> UpstreamJob:
    return UpstreamJob("/completions", {}, 16, 1, **more)


def text(new: str, reason: str | None = None, **more: Any) -> str:
    return json.dumps({"choices": [{"text": new, "finish_reason": reason}], **more})


def chat(delta: dict[str, Any], reason: str | None = None) -> str:
    return json.dumps({"choices": [{"delta": delta, "finish_reason": reason}]})


def usage(prompt: int, completion: int) -> str:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return json.dumps({"choices": [], "usage": counts})


def read(*events: str, answer: Answer | None = None) -> list[Piece]:
    answer = answer or Answer(a_job())
    pieces = [piece for event in events if (piece := answer.feed(event)) is not None]
    return [*pieces, answer.end()]


def test_text_comes_piece_by_piece_and_the_reason_last() -> None:
    pieces = read(text("a"), text("b"), text("", "stop"), DONE)
    assert [(p.text, p.finish_reason) for p in pieces] == [("a", None), ("b", None), ("", "stop")]


def test_text_that_comes_with_the_reason_is_not_lost() -> None:
    assert [p.text for p in read(text("a", "length"))] == ["a", ""]


def test_a_chats_role_and_thoughts_are_no_text() -> None:
    events = (
        chat({"role": "assistant"}),
        chat({"reasoning_content": "hm"}),
        chat({"content": "a"}),
    )
    assert [p.text for p in read(*events, chat({}, "stop"))] == ["a", ""]


def test_the_usage_of_the_end_is_the_last_pieces() -> None:
    pieces = read(text("a"), text("b", "stop"), usage(5, 9), DONE)
    assert pieces[1].usage.completion_tokens == 2
    assert pieces[-1].usage.model_dump() == {
        "prompt_tokens": 5,
        "completion_tokens": 9,
        "total_tokens": 14,
    }


def test_without_a_usage_events_are_counted_and_the_prompt_as_it_was() -> None:
    last = read(text("a"), text("b", "stop"), answer=Answer(a_job(), prompt_tokens=4))[-1]
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (4, 2)


def test_a_usage_of_nothing_is_none() -> None:
    """LiteLLM says zero with every event until it knows."""
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    answer = Answer(a_job(), prompt_tokens=4)
    last = read(text("a", usage=zero), text("b", "stop", usage=zero), answer=answer)[-1]
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (4, 2)


def test_the_tokens_of_a_text_may_be_counted_where_no_usage_is_told() -> None:
    answer = Answer(a_job(echo="x"))
    read(text("abc"), text("", "stop"), answer=answer)
    assert answer.untold and answer.text == "abc"
    answer.counted(3)
    assert answer.end().usage.completion_tokens == 3
    answer.counted(1)
    assert answer.end().usage.completion_tokens == 3, "an event is a token at least"
    told = Answer(a_job())
    read(text("abc", "stop"), usage(5, 9), answer=told)
    assert not told.untold
    assert not Answer(a_job()).untold, "it has not come to its end"


def test_the_text_is_cut_before_a_stop_text_that_is_ours_to_find() -> None:
    def told(stop: str, *events: str) -> tuple[str, str | None]:
        pieces = read(*events, answer=Answer(a_job(stop=(stop,))))
        return "".join(p.text for p in pieces), pieces[-1].finish_reason

    assert told("bc", text("ab"), text("cd", "stop")) == ("a", "stop")
    assert told("bc", text("ab"), text("c"), text("", "length")) == ("a", "stop")
    assert told("bcx", text("ab"), text("c", "length")) == ("abc", "length")


def test_the_echo_comes_with_the_first_text() -> None:
    assert [p.text for p in read(text("b", "stop"), answer=Answer(a_job(echo="a")))] == ["ab", ""]


def test_the_echo_comes_also_where_there_is_no_text() -> None:
    assert [p.text for p in read(text("", "stop"), answer=Answer(a_job(echo="a")))] == ["a"]


@pytest.mark.parametrize("end", [(), (DONE,)])
def test_a_stream_that_ends_without_a_reason_is_an_error(end: tuple[str, ...]) -> None:
    with pytest.raises(WorkerLost, match="in the middle of an answer"):
        read(text("a"), *end)


@pytest.mark.parametrize("reason", ["abort", "content_filter", "tool_calls", "load"])
def test_an_answer_that_was_given_up_is_an_error(reason: str) -> None:
    with pytest.raises(ServeError, match=f"gave the answer up: '{reason}'"):
        read(text("", reason))


@pytest.mark.parametrize(
    "event",
    ["", "{", "[]", "1", '{"choices": [1]}', '{"choices": [{"text": 1}]}', '{"choices": {"a": 1}}']
    + ['{"choices": [{"delta": null}]}', '{"choices": [{"delta": {"content": []}}]}']
    + ['{"choices": [], "usage": {"prompt_tokens": "x"}}'],
)
def test_an_event_that_cannot_be_read_is_an_error(event: str) -> None:
    with pytest.raises(WorkerLost, match="cannot be read"):
        Answer(a_job()).feed(event)


def test_an_event_that_cannot_be_read_is_shown_to_the_log_alone_and_no_key_to_anybody() -> None:
    redaction = Redaction("the upstream of cat", "http://up:1/v1", "sesame-open")
    event = "who is *me* at sesame-open?\n" + "x" * 1000
    with pytest.raises(WorkerLost) as caught:
        Answer(a_job(), redaction=redaction).feed(event)
    assert str(caught.value) == "the upstream of cat sent an event that cannot be read"
    said = notes(caught.value)
    assert said.startswith("http://up:1/v1 sent an event that cannot be read: who is *me* at ***?")
    assert len(said.partition(": ")[2]) <= 80 and said.isprintable()


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        ({"error": {"message": "kaboom", "code": 500}}, ServeError, "kaboom"),
        ({"error": "kaboom"}, ServeError, "kaboom"),
        ({"object": "error", "message": "busy", "code": 503}, NotReady, "busy"),
        ({"text": "gone", "error_code": 50002, "error": {"message": "m"}}, OutOfMemory, "m"),
        (
            {"error": {"code": 400, "type": "exceed_context_size_error", "message": "long"}},
            PromptTooLong,
            "long",
        ),
    ],
)
def test_an_error_in_the_stream_is_that_error(
    event: dict[str, Any], kind: type[ServeError], words: str
) -> None:
    with pytest.raises(kind, match=f"broke the answer off: .*{words}") as caught:
        Answer(a_job()).feed(json.dumps(event))
    assert type(caught.value) is kind


def scored(token: str, **scores: Any) -> str:
    return json.dumps({"choices": [{"text": token, "logprobs": scores}]})


def test_log_probabilities_of_a_completion() -> None:
    answer = Answer(a_job(logprobs=1))
    first = answer.feed(
        scored("ab", tokens=["ab"], token_logprobs=[-1.0], top_logprobs=[{"x": -2.0, "ab": -1.0}])
    )
    then = answer.feed(scored("c", tokens=["c"], token_logprobs=[-float("inf")], text_offset=[0]))
    assert first is not None and first.logprobs is not None and then is not None
    assert first.logprobs.top_logprobs == [{"ab": -1.0}]
    assert then.logprobs is not None
    assert (then.logprobs.text_offset, then.logprobs.token_logprobs) == ([2], [-9999.0])


def test_log_probabilities_of_a_chat() -> None:
    tops = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -2.0}]
    content = [{"token": "a", "logprob": -0.1, "top_logprobs": tops}]
    event = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": content}}]}
    piece = Answer(a_job(logprobs=2)).feed(json.dumps(event))
    assert piece is not None and piece.logprobs is not None
    assert piece.logprobs.tokens == ["a"]
    assert piece.logprobs.top_logprobs == [{"a": -0.1, "b": -2.0}]


def test_the_first_token_of_an_echo_has_no_probability() -> None:
    tops = [None, {"b": -1.0}]
    event = scored("ab", tokens=["a", "b"], token_logprobs=[None, -1.0], top_logprobs=tops)
    piece = Answer(a_job(logprobs=1)).feed(event)
    assert piece is not None and piece.logprobs is not None
    assert piece.logprobs.token_logprobs == [None, -1.0]
    assert piece.logprobs.top_logprobs == [None, {"b": -1.0}]


def test_an_upstream_that_gives_no_log_probabilities_is_an_error() -> None:
    with pytest.raises(ServeError, match="gives no log-probabilities"):
        Answer(a_job(logprobs=0)).feed(text("a"))


def test_log_probabilities_that_cannot_be_read_are_an_error() -> None:
    with pytest.raises(WorkerLost, match="cannot be read"):
        Answer(a_job(logprobs=0)).feed(scored("a", tokens=["a", "b"], token_logprobs=[1]))


OF_THE_PROMPT: list[Any] = [None, {"5": {"logprob": -0.5, "rank": 2, "decoded_token": "a"}}]


def test_what_an_upstream_made_of_the_prompt_is_no_token_and_comes_with_the_first_text() -> None:
    """A completion's choice has it; of a chat it stands beside the choices."""
    inside = {"choices": [{"text": "", "prompt_logprobs": OF_THE_PROMPT}]}
    beside = {"choices": [{"delta": {}}], "prompt_logprobs": OF_THE_PROMPT}
    for about in (inside, beside):
        answer = Answer(a_job(prompt_logprobs=1))
        first, last = read(json.dumps(about), text("a", "stop"), answer=answer)
        assert first.prompt_logprobs is not None and last.prompt_logprobs is None
        nothing, places = first.prompt_logprobs
        assert nothing is None and places is not None
        assert (places[5].logprob, places[5].rank, places[5].decoded_token) == (-0.5, 2, "a")
        assert first.usage.completion_tokens == 1


def test_it_comes_also_where_there_is_no_text() -> None:
    about = {"choices": [{"text": "", "prompt_logprobs": OF_THE_PROMPT, "finish_reason": "stop"}]}
    (last,) = read(json.dumps(about), answer=Answer(a_job(prompt_logprobs=0)))
    assert last.prompt_logprobs is not None


def test_an_upstream_that_tells_nothing_of_the_prompt_is_an_error() -> None:
    with pytest.raises(ServeError, match="leave 'prompt_logprobs' out"):
        read(text("a", "stop"), answer=Answer(a_job(prompt_logprobs=0)))


@pytest.mark.parametrize("wrong", ["x", [{"five": {}}], [{"5": {"logprob": "x"}}]])
def test_what_cannot_be_read_of_it_is_an_error(wrong: Any) -> None:
    event = json.dumps({"choices": [{"text": "", "prompt_logprobs": wrong}]})
    with pytest.raises(WorkerLost, match="cannot be read"):
        Answer(a_job(prompt_logprobs=0)).feed(event)
