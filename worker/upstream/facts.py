"""Finds out what an upstream is: its model, its kind, its context, and whether it gives vectors.

Waits for an upstream that is still starting; what cannot become right by waiting is a StartError.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...adapters.errors import (
    NotReady,
    Overloaded,
    ServeError,
    StartError,
    UnknownRoute,
    WorkerLost,
    WorkerSilent,
)
from ..loading import Progress
from .dialects import DIALECTS, UNKNOWN, owned_by
from .faults import notes

log = logging.getLogger(__name__)

Ask = Callable[..., Any]  # Upstream.ask, for a thread that waits
Alive = Callable[[], str]

DEFAULT_CONTEXT = 2048  # tokens; FastChat's, for a model that says nothing
AGAIN = 1.0  # seconds from one question to the next while it starts
SLOW = 60.0  # seconds for one vector: Ollama loads the model first
LATER = (WorkerLost, WorkerSilent, NotReady, Overloaded)  # an upstream that is starting
NAMELESS = (
    "the upstream is `transformers serve`, which does not list a model from outside its cache; "
    "name it as that command does, with --upstream-model"
)
KEY = "give its key with --upstream-key-file, or in DANLU_WORKER_UPSTREAM_KEY"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say of the upstream; None and empty stand for what it says itself."""

    url: str
    model: str = ""
    names: tuple[str, ...] = ()
    dialect: str = "auto"
    context_length: int | None = None
    wait: float = 1800.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is at the upstream."""

    model: str
    dialect: str
    context_length: int
    embeddings: bool


def found(
    wanted: Wanted,
    ask: Ask,
    progress: Progress,
    *,
    alive: Alive = lambda: "",
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Facts:
    """Waits up to `wanted.wait` seconds; `alive` is asked while it waits: what to show, empty
    for nothing of its own, or an error."""
    until = clock() + wanted.wait
    while True:
        shown = alive()
        reason = "it serves no model yet"
        try:
            cards = _cards(wanted, ask)
            if cards:
                return _facts(wanted, _chosen(wanted, cards), ask)
            if _is_transformers(wanted, ask):
                raise StartError(NAMELESS)
        except LATER as exc:
            reason = _told(exc)
        if clock() >= until:
            raise StartError(
                f"the upstream {wanted.url} was not there within {wanted.wait:g} s: {reason}"
            )
        progress.set(progress.fraction, shown or f"waiting for the upstream: {reason}")
        sleep(AGAIN)


def _cards(wanted: Wanted, ask: Ask) -> list[dict[str, Any]]:
    """The upstream's models; raises StartError for what waiting does not mend.

    transformers' server lists what is in its cache, which need not be what it serves, and fails
    where there is no cache. So a model that is named is taken for one of its own.
    """
    if wanted.model and _is_transformers(wanted, ask):
        return [{"id": wanted.model}]
    try:
        answer = ask("/models")
        return [card for card in answer["data"] if isinstance(card["id"], str)]
    except LATER:
        raise
    except UnknownRoute as exc:
        raise StartError(
            f"--upstream-url {wanted.url!r} has no /models: {_told(exc)}; "
            "most such addresses end in /v1"
        ) from exc
    except ServeError as exc:
        told = _told(exc)
        advice = f"; {KEY}" if "key" in told else ""
        raise StartError(f"--upstream-url {wanted.url!r} cannot be used: {told}{advice}") from exc
    except (KeyError, TypeError) as exc:
        raise StartError(
            f"--upstream-url {wanted.url!r} is no OpenAI-compatible server: "
            "its /models lists no models; most such addresses end in /v1"
        ) from exc


def _chosen(wanted: Wanted, cards: list[dict[str, Any]]) -> dict[str, Any]:
    """The card of the model to serve; Ollama's names may go without `:latest`."""
    by_name = {card["id"].removesuffix(":latest"): card for card in cards}
    by_name |= {card["id"]: card for card in cards}
    served = ", ".join(card["id"] for card in cards)
    if wanted.model:
        if wanted.model not in by_name:
            raise StartError(
                f"--upstream-model {wanted.model!r} is not served by the upstream; one of {served}"
            )
        return by_name[wanted.model]
    if len(cards) == 1:
        return cards[0]
    ours = [by_name[name] for name in wanted.names if name in by_name]
    if len(ours) != 1:
        raise StartError(f"the upstream serves {served}; choose one with --upstream-model")
    return ours[0]


def _facts(wanted: Wanted, card: dict[str, Any], ask: Ask) -> Facts:
    model = card["id"]
    dialect = _dialect(card, ask) if wanted.dialect == "auto" else wanted.dialect
    if dialect == "transformers":
        _try(wanted, model, ask)
    context = _context(wanted, _told_context(card, dialect, ask))
    facts = Facts(model, dialect, context, _embeds(model, ask))
    log.info(
        "upstream found url=%s model=%s dialect=%s context_length=%d embeddings=%s",
        wanted.url,
        *(facts.model, facts.dialect, facts.context_length, facts.embeddings),
    )
    return facts


def _dialect(card: dict[str, Any], ask: Ask) -> str:
    name = owned_by(str(card.get("owned_by", "")))
    if name == "danlu":  # FastChat's owner, too
        title = (_described(ask).get("info") or {}).get("title")
        return "danlu" if title == "danlu" else "fastchat"
    if name == UNKNOWN and "version" in (_perhaps(ask, "/api/version", root=True) or {}):
        return "ollama"  # of a model that somebody published there
    if name == UNKNOWN and _loads_models(ask):
        return "transformers"  # whose owners are the authors of its models
    return name


def _is_transformers(wanted: Wanted, ask: Ask) -> bool:
    return wanted.dialect == "transformers" or (wanted.dialect == "auto" and _loads_models(ask))


def _loads_models(ask: Ask) -> bool:
    """Whether it has the routes that transformers' server alone has."""
    return {"/load_model", "/reset"} <= set(_described(ask).get("paths") or ())


def _described(ask: Ask) -> dict[str, Any]:
    """Raises LATER where it was not answered: what an upstream is may not be guessed for good."""
    try:
        answer = ask("/openapi.json", None, root=True)
    except LATER:
        raise
    except ServeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _try(wanted: Wanted, model: str, ask: Ask) -> None:
    """Have transformers' server load the model; raises StartError if it has another one."""
    body = {"model": model, "prompt": "a", "max_tokens": 1}
    try:
        ask("/completions", body, seconds=max(wanted.wait, SLOW))
    except LATER:
        raise
    except UnknownRoute:  # an older one, which has chats only
        return
    except ServeError as exc:
        raise StartError(f"--upstream-model {model!r} is not served: {_told(exc)}") from exc


def _told_context(card: dict[str, Any], dialect: str, ask: Ask) -> int | None:
    """What the upstream itself says; every kind says it at another place, or not at all."""
    meta = card.get("meta") or {}
    candidates = [card.get("max_model_len"), card.get("max_input_tokens"), meta.get("n_ctx")]
    if dialect == "llama.cpp":
        props = _perhaps(ask, "/props", root=True) or {}
        candidates += [(props.get("default_generation_settings") or {}).get("n_ctx")]
    if DIALECTS[dialect].counts == "check":
        body = {"prompts": [{"model": card["id"], "prompt": "a", "max_tokens": 0}]}
        checked = _perhaps(ask, "/api/v1/token_check", body, root=True) or {}
        candidates += [one.get("contextLength") for one in checked.get("prompts") or ()]
    if dialect == "ollama":
        running = _perhaps(ask, "/api/ps", root=True) or {}
        ours = (one for one in running.get("models") or () if one.get("name") == card["id"])
        candidates += [one.get("context_length") for one in ours]
    candidates += [meta.get("n_ctx_train")]
    return next((one for one in candidates if isinstance(one, int) and one > 0), None)


def _context(wanted: Wanted, told: int | None) -> int:
    given = wanted.context_length
    if given is not None and told is not None and given > told:
        raise StartError(
            f"--context-length {given} is more than the upstream's own, {told}; leave it out"
        )
    if given is None and told is None:
        log.warning(
            "the upstream tells no context length: taking %d; --context-length sets it",
            DEFAULT_CONTEXT,
        )
    return given or told or DEFAULT_CONTEXT


def _embeds(model: str, ask: Ask) -> bool:
    """Tries it. LiteLLM, which has /model/info, is asked instead: it puts a model that fails once
    out of everybody's reach for seconds."""
    known = (_perhaps(ask, "/model/info") or {}).get("data")
    if isinstance(known, list):
        ours = (one.get("model_info") or {} for one in known if one.get("model_name") == model)
        return any(info.get("mode") == "embedding" for info in ours)
    body = {"model": model, "input": ["a"], "encoding_format": "float"}
    answer = _perhaps(ask, "/embeddings", body, seconds=SLOW) or {}
    try:
        return isinstance(answer["data"][0]["embedding"][0], int | float)
    except (IndexError, KeyError, TypeError):  # llama-cpp-python may give a vector for each token
        return False


def _told(exc: ServeError) -> str:
    """Whoever starts the worker may know all of it."""
    return notes(exc) or str(exc)


def _perhaps(ask: Ask, path: str, body: Any = None, **how: Any) -> dict[str, Any] | None:
    """The object that `path` answers, if there is one."""
    try:
        answer = ask(path, body, **how)
    except ServeError:
        return None
    return answer if isinstance(answer, dict) else None
