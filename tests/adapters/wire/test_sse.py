"""Events as OpenAI's clients read them."""

import json

from danlu.adapters.errors import OutOfMemory
from danlu.adapters.wire.fastchat import SERVER_ERROR_MSG
from danlu.adapters.wire.sse import DONE, error_event, event


def test_an_event_is_one_line_of_utf8_and_an_empty_one() -> None:
    assert event({"text": "你\n\n好"}) == 'data: {"text":"你\\n\\n好"}\n\n'.encode()
    assert DONE == b"data: [DONE]\n\n"


def test_half_a_surrogate_pair_does_not_end_the_stream() -> None:
    assert event({"text": "a\ud83d"}) == b'data: {"text":"a?"}\n\n'


def test_an_error_is_openais_and_fastchats_in_one() -> None:
    told = json.loads(error_event(OutOfMemory("too much")).removeprefix(b"data: "))
    assert told["error"]["message"] == told["message"] == "too much"
    assert told["error"]["type"] == "server_error"
    assert told["text"] == f"{SERVER_ERROR_MSG}\n\n(too much)"
    assert told["error_code"] == told["code"] == 50002
