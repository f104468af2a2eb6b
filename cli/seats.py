"""Where the workers of `danlu up` sit: one on each card, with a port of its own."""

import re

from ..adapters.errors import StartError
from ..adapters.host.serving import bind
from .stack import Seat, UpSettings

CARDS = re.compile(r"\d+(,\d+)*")
HIGHEST_PORT = 65535


def seats(settings: UpSettings) -> tuple[Seat, ...]:
    """One seat a card, or one without a card of its own; raises StartError.

    The first worker has --worker-port, the others the next free ports above it.
    """
    if settings.upstream_url:
        _check_no_cards(settings)
    cards = cards_of(settings.gpus, settings.num_gpus)
    if not cards:
        return (Seat("worker", settings.worker_port),)
    ports = (settings.worker_port, *_ports_above(settings, len(cards) - 1))
    names = ["worker" if len(cards) == 1 else f"worker-{card}" for card in cards]
    return tuple(
        Seat(name, port, ("--gpus", str(card)))
        for name, port, card in zip(names, ports, cards, strict=True)
    )


def _check_no_cards(settings: UpSettings) -> None:
    for flag, value in (("--gpus", settings.gpus), ("--num-gpus", settings.num_gpus)):
        if value:
            raise StartError(
                f"{flag} {value} is not honoured with --upstream-url: the upstream has the model, "
                "and cards of its own; leave it out"
            )


def cards_of(gpus: str, count: int | None) -> tuple[int, ...]:
    """The cards that the flags name, counted among the visible ones; none if they ask for one
    worker on whichever card the worker's own flags choose."""
    if not gpus:
        return tuple(range(count)) if count is not None and count > 1 else ()
    if CARDS.fullmatch(gpus) is None:
        raise StartError(f"--gpus {gpus!r} is no list of cards; it is written 0 or 0,1")
    cards = tuple(map(int, gpus.split(",")))
    if len(set(cards)) < len(cards):
        raise StartError(f"--gpus {gpus} names a card twice; a card serves one worker")
    if count not in (None, len(cards)):
        raise StartError(f"--num-gpus {count} does not fit --gpus {gpus}; leave one of them out")
    return cards


def _ports_above(settings: UpSettings, count: int) -> list[int]:
    others = {settings.port, settings.api_port, settings.controller_port}
    found: list[int] = []
    port = settings.worker_port
    while len(found) < count:
        port += 1
        if port > HIGHEST_PORT:
            raise StartError(
                f"--worker-port {settings.worker_port} has too few free ports above it"
            )
        if port not in others and _is_free(settings.worker_host, port):
            found.append(port)
    return found


def _is_free(host: str, port: int) -> bool:
    try:
        bind(host, port).close()
    except StartError:
        return False
    return True
