"""Puts together what a batching engine's thread owns, from the cache to the scheduler; on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..adapters.devices.device import Device
from ..adapters.kernels.decoder import decoder_for
from .failures import Failures
from .hosted import Hosted, Manner
from .kv_cache import KvCache
from .kv_room import Room
from .kv_slots import KvSlots
from .loading import Progress
from .pace import Pace
from .recording import beside, record
from .runner import Runner
from .running import Close, Running
from .sampler import Sampler
from .scheduler import Scheduler
from .shapes import Shapes, power
from .steps import Steps
from .suitability import Fit
from .trial import trusted
from .tunings import Tunings
from .warming import warm_up

CHUNK = 512  # tokens of prompts in a step: as much as keeps the device busy, and no more memory
# The same while nobody reads an answer: of prompts that come at once, more begin together.
BURST = 1024


@dataclass(frozen=True, slots=True)
class Parts:
    """What it is made of. Adapters take at most `adapter_memory` bytes."""

    hosted: Hosted
    device: Device
    fit: Fit
    room: Room
    manner: Manner
    failures: Failures
    adapter_memory: int | None = None
    clock: Callable[[], float] = time.perf_counter


def assembled(parts: Parts, close: Close, progress: Progress) -> Running:
    """Ready for its first request: warmed up, and recorded where the device can."""
    hosted, device, room, manner = parts.hosted, parts.device, parts.room, parts.manner
    model = hosted.model
    cache = KvCache(parts.fit.layers, room.slots, room.length, model.dtype, model.device)
    shapes = Shapes(
        length=room.length,
        rows=min(power(room.concurrency), room.slots),
        part=min(CHUNK, room.length),
        fixed=device.fixed_shapes,
    )
    tunings = Tunings(model, parts.adapter_memory)
    decoder = trusted(decoder_for(model, cache.keys, cache.values), model, cache, shapes)
    runner = Runner(model, cache, shapes, tunings, decoder)
    record(runner, cache, shapes, device, manner.graphs, progress)
    beside(
        runner, lambda: warm_up(runner, shapes, progress, manner.lookahead), device, manner.graphs
    )
    scheduler = Scheduler(
        KvSlots(room.slots),
        concurrency=room.concurrency,
        chunk=CHUNK,
        parts=1 if shapes.fixed else None,
    )
    return Running(
        hosted,
        device,
        scheduler,
        _steps(parts, scheduler, runner),
        parts.failures,
        close,
        tunings=tunings,
        interval=manner.stream_interval,
        lookahead=manner.lookahead,
    )


def _steps(parts: Parts, scheduler: Scheduler, runner: Runner) -> Steps:
    seats = parts.room.concurrency
    return Steps(
        parts.device,
        scheduler,
        runner,
        Sampler(seats, parts.fit.vocabulary, parts.hosted.model.device),
        parts.failures,
        pace=Pace(CHUNK, BURST),
        seats=seats,
        clock=parts.clock,
    )
