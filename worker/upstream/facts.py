"""What there is at an upstream: its model's kind and context, and whether it gives vectors."""

import logging
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
from .dialects import DIALECTS, UNKNOWN, owned_by
from .faults import in_full

log = logging.getLogger(__name__)

Ask = Callable[..., Any]  # Upstream.ask, for a thread that waits

DEFAULT_CONTEXT = 2048  # tokens; FastChat's, for a model that says nothing
SLOW = 60.0  # seconds for one vector: Ollama loads the model first
LATER = (WorkerLost, WorkerSilent, NotReady, Overloaded)  # an upstream that is starting


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


def facts_of(wanted: Wanted, card: dict[str, Any], ask: Ask) -> Facts:
    """What there is to know of the model of `card`; raises StartError, or LATER."""
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


def is_transformers(wanted: Wanted, ask: Ask) -> bool:
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
        raise StartError(f"--upstream-model {model!r} is not served: {in_full(exc)}") from exc


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


def _perhaps(ask: Ask, path: str, body: Any = None, **how: Any) -> dict[str, Any] | None:
    """The object that `path` answers, if there is one."""
    try:
        answer = ask(path, body, **how)
    except ServeError:
        return None
    return answer if isinstance(answer, dict) else None
