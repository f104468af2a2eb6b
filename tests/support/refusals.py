"""What a good refusal looks like, whoever gives it: a status, and one sentence for a person."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from .processes import Program

LOGGED = " | INFO | "
LONGEST = 400  # characters; a sentence that quotes its sender's megabyte is none
LONGEST_LINE = 1200  # characters; FastChat has seventy templates, and a wrong one shows them all
TO_REFUSE = 30.0  # seconds that a request, or a program that cannot start, gets to be refused

NOT_JSON = (
    b"",
    b"{",
    b"nonsense",
    b"\xff\xfe{}",
    b'{"model": "x"',
    b"\x1f\x8b\x08\x00",
    b"[" * 200_000,
)
NOT_AN_OBJECT = (b"[]", b"null", b"3", b'"text"', b"true")
HUGE = b'{"model": "smollm2", "prompt": "' + b"x" * 10_000_000 + b'"}'
LONG = "word " * 20_000  # far beyond the 2048 or 8192 tokens of SmolLM2
HALF = "half a character: \ud83d"  # legal JSON, but no text: nothing can be made of it


@dataclass(frozen=True, slots=True)
class Bad:
    """A request that must be refused with `status`, in a sentence that has `word` in it."""

    path: str
    body: Any
    word: str
    status: int = 400
    method: str = "POST"

    @property
    def raw(self) -> bytes | None:
        """Bytes go as they are, None sends nothing, everything else is JSON."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()

    def send(self, base: str) -> httpx.Response:
        return httpx.request(
            self.method, base + self.path, content=self.raw, timeout=TO_REFUSE, trust_env=False
        )

    def __str__(self) -> str:
        return f"{self.method} {self.path} {(self.raw or b'')[:70].decode('ascii', 'replace')}"


def without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def check_refusal(bad: Bad, answer: httpx.Response) -> None:
    assert answer.status_code == bad.status, answer.text[:500]
    assert "Traceback" not in answer.text
    check_sentence(sentence_in(answer), bad.word)


def sentence_in(answer: httpx.Response) -> str:
    """The message of an envelope, or the text of an error frame with its zero byte."""
    body = json.loads(answer.content.removesuffix(b"\0"))
    if "error" in body:
        assert body["object"] == "error" and body["error"]["message"] == body["message"]
        assert isinstance(body["code"], int) and body["error"]["type"]
    else:
        assert body["error_code"] > 0
    sentence: str = body["message"] if "error" in body else body["text"].split("\n\n", 1)[1]
    return sentence


def check_sentence(sentence: str, word: str) -> None:
    assert word.lower() in sentence.lower(), sentence
    assert sentence.strip() and "\n" not in sentence.strip(), f"more than one line: {sentence!r}"
    assert len(sentence) < LONGEST, f"{len(sentence)} characters: {sentence[:200]}"


def check_start_refusal(program: Program, *words: str) -> None:
    """The program ends by itself with status 2; its last line says what is wrong.

    Before it there may be lines of the log on what it was doing, but no other words.
    """
    with program:
        status = program.wait_to_end(TO_REFUSE)
        output = program.output
    assert status == 2, output
    (line,) = (line for line in output.strip().splitlines() if LOGGED not in line)
    assert output.strip().endswith(line)
    for word in words:
        assert word.lower() in line.lower()
    assert len(line) < LONGEST_LINE
