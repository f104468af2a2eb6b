"""Waits for an upstream that is still starting, and chooses its model.

What cannot become right by waiting is a StartError.
"""

import time
from collections.abc import Callable
from typing import Any

from ...adapters.errors import ServeError, StartError, UnknownRoute
from ..loading import Progress
from .facts import LATER, Ask, Facts, Wanted, facts_of, is_transformers
from .faults import in_full

Alive = Callable[[], str]

AGAIN = 1.0  # seconds from one question to the next while it starts
NAMELESS = (
    "the upstream is `transformers serve`, which does not list a model from outside its cache; "
    "name it as that command does, with --upstream-model"
)
KEY = "give its key with --upstream-key-file, or in DANLU_WORKER_UPSTREAM_KEY"


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
                return facts_of(wanted, _chosen(wanted, cards), ask)
            if is_transformers(wanted, ask):
                raise StartError(NAMELESS)
        except LATER as exc:
            reason = in_full(exc)
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
    if wanted.model and is_transformers(wanted, ask):
        return [{"id": wanted.model}]
    try:
        answer = ask("/models")
        return [card for card in answer["data"] if isinstance(card["id"], str)]
    except LATER:
        raise
    except UnknownRoute as exc:
        raise StartError(
            f"--upstream-url {wanted.url!r} has no /models: {in_full(exc)}; "
            "most such addresses end in /v1"
        ) from exc
    except ServeError as exc:
        reason = in_full(exc)
        advice = f"; {KEY}" if "key" in reason else ""
        raise StartError(f"--upstream-url {wanted.url!r} cannot be used: {reason}{advice}") from exc
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
