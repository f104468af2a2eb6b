"""`PYTHONPATH=tests python -m support.capturing NAME VERSION URL`: keeps what an upstream answers.

The server must serve SmolLM2. What is asked and answered goes through a relay that keeps it, less
what tells of the machine. The file is for `support.recorded`; read it before you keep it.
"""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from danlu.worker.loading import Progress
from danlu.worker.settings import WorkerSettings
from danlu.worker.upstream.engine import UpstreamEngine
from danlu.worker.upstream.loading import load_engine

from .recorded import KEPT, Case, Exchange, Recording, facts_of, outcome_of
from .served import served

PATIENCE = 120.0  # seconds for one answer
FRANCE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
]
LONG = [{"role": "user", "content": "word " * 300}]
EMOJI = "😊 🚀 你好 世界 😊 🚀 你好 世界"
CHAT = {"messages": FRANCE, "temperature": 0.0}
TEXT = {"prompt": "The capital of France is", "temperature": 0.0}
CASES: dict[str, dict[str, Any]] = {
    "a chat": {**CHAT, "max_new_tokens": 4},
    "a chat to its end": {**CHAT, "max_new_tokens": 20},
    "a text": {**TEXT, "max_new_tokens": 3},
    "a text to a stop": {**TEXT, "stop": ["is.", "."], "max_new_tokens": 20},
    "half a character": {**TEXT, "prompt": EMOJI, "max_new_tokens": 6},
    "drawn": {**TEXT, "temperature": 1.5, "seed": 7, "max_new_tokens": 3},
    "cut": {**TEXT, "temperature": 1.5, "top_p": 0.001, "max_new_tokens": 2},
    "cut to one": {**TEXT, "temperature": 1.5, "top_k": 1, "min_p": 0.5, "max_new_tokens": 2},
    "a chat with log-probabilities": {**CHAT, "logprobs": 2, "max_new_tokens": 2},
    "a text with log-probabilities": {**TEXT, "logprobs": 2, "max_new_tokens": 2},
    "an echo": {**TEXT, "echo": True, "max_new_tokens": 1},
    "an echo with log-probabilities": {**TEXT, "logprobs": 1, "echo": True, "max_new_tokens": 1},
    "token ids": {
        "prompt_token_ids": [504, 3575, 282, 4649, 314],
        "temperature": 0.0,
        "max_new_tokens": 2,
    },
    "penalties": {**TEXT, "presence_penalty": 1.0, "frequency_penalty": 1.0, "max_new_tokens": 3},
    "a repetition penalty": {**TEXT, "repetition_penalty": 1.3, "max_new_tokens": 3},
    "a bias": {**TEXT, "logit_bias": {"7042": -100.0}, "max_new_tokens": 2},
    "no end": {**CHAT, "ignore_eos": True, "max_new_tokens": 10},
    "at least so many": {**CHAT, "min_tokens": 10, "max_new_tokens": 10},
    "a choice": {**TEXT, "structured_outputs": {"choice": ["yes", "no"]}, "max_new_tokens": 4},
    "too long": {"messages": LONG, "max_new_tokens": 2},
    "too much": {**CHAT, "max_new_tokens": 9999, "stop": [" is", ","]},
    "vectors": {"texts": ["a cat", "two dogs"]},
}
TELLING = ("/v1/models", "/load_model", "/reset")  # paths by which a server may be known
SHOWN = 200  # characters of an outcome


class Relay:
    """Asks `url` what it is asked, and keeps both. Headers but the key are left out."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.kept: list[Exchange] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._pass, methods=["GET", "POST"])])

    def taken(self) -> list[Exchange]:
        taken, self.kept = self.kept, []
        return taken

    async def _pass(self, request: Request) -> Response:
        body = await request.json() if request.method == "POST" else None
        key = {k: v for k, v in request.headers.items() if k == "authorization"}
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            answer = await client.request(
                request.method, self._url + request.url.path, json=body, headers=key
            )
        headers = {k: v for k, v in answer.headers.items() if k in KEPT}
        raw = answer.text
        if answer.status_code == 200:
            raw = _discreet(request.url.path, raw)
        exchange = Exchange(
            request.method, request.url.path, body, answer.status_code, headers, raw
        )
        self.kept.append(exchange)
        return Response(answer.content, answer.status_code, headers)


def main() -> None:
    asked = _flags()
    relay = Relay(asked.url.removesuffix("/v1"))
    given = {
        "upstream_model": asked.model,
        "model_names": (asked.model,) if asked.model else (),
        "context_length": asked.context_length,
        "upstream_dialect": asked.dialect,
    }
    settings = {name: value for name, value in given.items() if value}
    with served(relay.app()) as url, _engine(f"{url}/v1", settings, asked.key) as engine:
        facts = facts_of(engine)
        print(facts)
        made = Recording(asked.server, asked.version, settings, relay.taken(), facts)
        for name, wanted in CASES.items():
            if "texts" in wanted and not engine.card.embeddings:
                continue
            outcome = outcome_of(engine, wanted)
            print(f"{name}: {json.dumps(outcome, ensure_ascii=False)[:SHOWN]}")
            made.cases.append(Case(name, wanted, relay.taken(), outcome))
    made.write()


@contextmanager
def _engine(url: str, settings: dict[str, Any], key: str) -> Iterator[UpstreamEngine]:
    whole = WorkerSettings(engine="upstream", upstream_url=url, upstream_key=key, **settings)
    engine = load_engine(whole, Progress())
    try:
        yield engine
    finally:
        engine.close()


def _discreet(path: str, raw: str) -> str:
    """Of long descriptions what is asked of them; no paths of the machine, no stack traces."""
    try:
        data = json.loads(raw)
    except ValueError:
        return raw
    if path == "/openapi.json":
        paths: dict[str, Any] = {name: {} for name in TELLING if name in data["paths"]}
        data = {"info": {"title": data["info"]["title"]}, "paths": paths}
    elif path == "/props":
        data = {
            "default_generation_settings": {"n_ctx": data["default_generation_settings"]["n_ctx"]}
        }
    elif path == "/v1/model/info":
        infos = ((m["model_name"], {"mode": m["model_info"].get("mode")}) for m in data["data"])
        data = {"data": [{"model_name": name, "model_info": info} for name, info in infos]}
    elif path == "/v1/embeddings":
        data = _short(data)
    else:
        return raw
    return json.dumps(data)


def _short(data: Any) -> Any:
    for one in data.get("data", ()) if isinstance(data, dict) else ():
        one["embedding"] = one["embedding"][:4]
    return data


def _nameless(raw: str) -> str:
    return re.sub(r"(/[\w.+-]+){2,}/(?=[\w.+-]+\.gguf)", "/models/", raw)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("server", "version", "url"):
        parser.add_argument(name)
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--dialect", default="")
    parser.add_argument("--context-length", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
