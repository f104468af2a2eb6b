"""Errors: what a sentence makes of a stranger's words."""

import pytest

from danlu.adapters.errors import LONGEST_QUOTE, BadRequest, WorkerLost, shown, worker_of
from danlu.adapters.wire.fastchat import error_frame


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chatglm2-6b", "chatglm2-6b"),
        ("模型 '1'", "模型 '1'"),
        ("a\nb\x00", "a\\nb\\x00"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_words_stay_on_one_line(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_many_words_are_cut() -> None:
    assert shown("x" * LONGEST_QUOTE) == "x" * LONGEST_QUOTE
    assert shown("x" * (LONGEST_QUOTE + 1)) == "x" * (LONGEST_QUOTE - 3) + "..."
    assert len(shown("x\n" * 10_000)) == LONGEST_QUOTE


def test_an_error_of_a_peer_has_the_address_for_the_log_and_the_model_for_the_client() -> None:
    error = WorkerLost("broke off", peer="http://w:1/x", why="[Errno 104]\n  reset")
    assert str(error) == error.logged == "http://w:1/x broke off: [Errno 104] reset"
    assert error.told == "the worker broke off"
    assert error.blame(worker_of("glm")).told == "the worker of model 'glm' broke off"
    assert error.envelope()["message"] == error.envelope()["error"]["message"] == error.told
    assert error_frame(error)["text"].endswith(f"({error.told})")


def test_an_error_without_a_peer_is_nobodys_fault() -> None:
    error = BadRequest("'n' is 0;\nit must be more", param="n").blame("the worker")
    assert error.told == str(error) == "'n' is 0;\nit must be more"
    assert error.logged == "'n' is 0; it must be more"
