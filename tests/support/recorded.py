"""What real upstreams answered, byte for byte, and a server that answers so again.

A file has one server: in its first line what it is and how it is met, then a line a question, with
what was made of the answer. `support.capturing` writes them.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from danlu.adapters.errors import ServeError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.upstream.engine import UpstreamEngine

FOLDER = Path(__file__).resolve().parents[1] / "worker" / "upstream" / "recorded"
CUT = 7  # bytes that are sent at a time
KEPT = ("content-type", "retry-after")  # headers


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of ours and its answer; `body` None for a GET."""

    method: str
    path: str
    body: Any
    status: int
    headers: dict[str, str]
    answer: str

    @property
    def question(self) -> str:
        return f"{self.method} {self.path} {json.dumps(self.body, sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class Case:
    """A generation, what was asked for it, and what came of it."""

    name: str
    asked: dict[str, Any]
    exchanges: list[Exchange]
    outcome: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """`settings` are those that the server is met with, `facts` what is found out of it."""

    server: str
    version: str
    settings: dict[str, Any]
    exchanges: list[Exchange]
    facts: dict[str, Any]
    cases: list[Case] = field(default_factory=list)

    def write(self) -> None:
        head = asdict(self)
        cases = head.pop("cases")
        lines = [json.dumps(line, ensure_ascii=False) for line in (head, *cases)]
        (FOLDER / f"{self.server}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.jsonl"))


def recording(name: str) -> Recording:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    head, *cases = map(json.loads, lines)
    for one in (head, *cases):
        one["exchanges"] = [Exchange(**exchange) for exchange in one["exchanges"]]
    return Recording(**head, cases=[Case(**case) for case in cases])


def facts_of(engine: UpstreamEngine) -> dict[str, Any]:
    card = engine.card
    return {
        "dialect": engine._asking.dialect,
        "context_length": card.context_length,
        "names": list(card.names),
        "conversation": card.conversation["name"],
        "embeddings": card.embeddings,
    }


def outcome_of(engine: UpstreamEngine, asked: dict[str, Any]) -> dict[str, Any]:
    """What a reader gets: the text and its facts, or the error."""
    try:
        if "texts" in asked:
            made = engine.embed(asked["texts"]).result(30)
            return {"vectors": [vector[:2] for vector in made.vectors], "tokens": made.tokens}
        box = ThreadOutbox()
        engine.submit(engine.admit(GenerateBody(**{"echo": False, **asked})), box)
        pieces = list(box)
    except ServeError as exc:
        return {"error": type(exc).__name__, "sentence": str(exc)}
    scored = [piece.logprobs for piece in pieces if piece.logprobs is not None]
    return {
        "text": "".join(piece.text for piece in pieces),
        "finish_reason": pieces[-1].finish_reason,
        "usage": [pieces[-1].usage.prompt_tokens, pieces[-1].usage.completion_tokens],
        **({"tokens": [token for one in scored for token in one.tokens]} if scored else {}),
    }


@dataclass
class Replay:
    """Answers what was recorded, in its order where it was asked again; `strange` is the rest."""

    exchanges: list[Exchange]
    strange: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.json() if request.method == "POST" else None
        asked = Exchange(request.method, request.url.path, body, 0, {}, "").question
        known = [one for one in self.exchanges if one.question == asked]
        if not known:
            self.strange.append(asked)
            return Response(status_code=418)
        if len(known) > 1:
            self.exchanges.remove(known[0])
        one = known[0]
        return StreamingResponse(_bits(one.answer.encode()), one.status, one.headers)


async def _bits(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), CUT):
        yield raw[start : start + CUT]
