"""Loads a model and gives it the engine that suits it: batches where it fits, else threads."""

import dataclasses
import logging

from ..adapters.devices.cpu import CPU
from ..adapters.devices.device import Device, device_named, present
from ..adapters.errors import ServeError, StartError
from ..adapters.models.loading import LoadedModel
from ..adapters.models.tuned.reading import tuning_at
from .adapter_paths import named_paths
from .adapter_room import adapter_room
from .batching_engine import BatchingEngine
from .cards import numbered
from .engine import AnyEngine
from .hosted import Manner
from .kv_cache import slot_bytes
from .kv_room import GIB, room
from .loading import Progress
from .recording import ON, nothing_records
from .settings import WorkerSettings
from .suitability import Fit, fitted
from .thread_engine import ThreadEngine
from .weights import load

log = logging.getLogger(__name__)

UNKNOWN = 8 * GIB  # bytes that may be free, where the system does not tell
CONCURRENCY = 16  # requests in a batch, where nothing is said
SHARE = {"cpu": 0.5}  # of the free memory that answers may take; the host has other uses for it
USUAL_SHARE = 0.85  # the rest is for what a step computes with


def load_engine(settings: WorkerSettings, progress: Progress) -> AnyEngine:
    """The engine for these settings, its model loaded; raises StartError, or DeviceLost where
    another try may go well. Takes its time.

    Binds the calling thread to the device: call it on one that does nothing else.
    """
    device = device_named(numbered(settings.device, present))
    if settings.graphs == ON and device.name == CPU.name:  # told before a model is read for nothing
        raise StartError(nothing_records(device))
    loaded = load(settings, device, progress)
    engine = engine_for(loaded, device, settings, progress)
    log.info(
        "engine ready device=%s engine=%s context_length=%d free_memory=%.1fGiB",
        device.name,
        type(engine).__name__,
        engine.card.context_length,
        device.free_memory() / GIB,
    )
    return engine


def engine_for(
    loaded: LoadedModel, device: Device, settings: WorkerSettings, progress: Progress
) -> AnyEngine:
    """Called on a thread that is bound to the device, because it may run the model."""
    manner = Manner(
        names=settings.names,
        concurrency=settings.limit_worker_concurrency,
        waiting=settings.limit_waiting,
        stream_interval=settings.stream_interval,
        lookahead=settings.prompt_lookup_num_tokens,
        graphs=settings.graphs,
        conv_template=settings.conv_template,
        embed_in_truncate=settings.embed_in_truncate,
        seed=settings.seed,
    )
    if settings.engine == "thread":
        _refuse_adapters(settings, "--engine thread does not; leave it out")
        return ThreadEngine(loaded, device, manner)
    fit = fitted(loaded.model, loaded.context_length)
    if not fit.reason:
        return _batching(loaded, device, fit, manner, progress, settings)
    if settings.engine == "batching":
        raise StartError(f"--engine batching cannot run this model: {fit.reason}; leave it out")
    _refuse_adapters(settings, f"this model is not, because {fit.reason}")
    for flag, value in (
        ("--kv-memory", settings.kv_memory),
        ("--prompt-lookup-num-tokens", settings.prompt_lookup_num_tokens or None),
        ("--graphs", ON if settings.graphs == ON else None),
    ):
        if value is not None:
            raise StartError(
                f"{flag} {value} is for models that can be batched, and this one is not, because "
                f"{fit.reason}; leave it out"
            )
    log.warning("requests run one by one: no batches for this model, because %s", fit.reason)
    return ThreadEngine(loaded, device, manner)


def _batching(
    loaded: LoadedModel,
    device: Device,
    fit: Fit,
    manner: Manner,
    progress: Progress,
    settings: WorkerSettings,
) -> BatchingEngine:
    free = device.free_memory() or UNKNOWN  # nothing tells it on macOS
    adapters = _adapter_memory(loaded, settings, free)
    memory = _answers_memory(device, settings, free - (adapters or 0))
    token_bytes = slot_bytes(fit.layers, 1, loaded.model.dtype)
    concurrency = manner.concurrency or CONCURRENCY
    found = room(memory, token_bytes, loaded.context_length, concurrency)
    if found.length < loaded.context_length:
        log.warning(
            "context shortened from=%d to=%d tokens, so that %d answers fit into memory at a time",
            loaded.context_length,
            found.length,
            found.concurrency,
        )
    if found.concurrency < (manner.concurrency or 0):
        log.warning(
            "requests at a time lowered from=%d to=%d, for which there is memory",
            manner.concurrency,
            found.concurrency,
        )
    log.info("cache slots=%d length=%d requests=%d", found.slots, found.length, found.concurrency)
    shortened = dataclasses.replace(loaded, context_length=found.length)
    engine = BatchingEngine(shortened, device, fit, found, manner, progress, adapters)
    _load_adapters(engine, settings)
    return engine


def _adapter_memory(loaded: LoadedModel, settings: WorkerSettings, free: int) -> int | None:
    """Bytes for adapters; None where none are asked for, and whoever has the engine may load one.

    Those of the flag are read here to be measured, and again to be loaded, so that no two of them
    need lie on the host at a time.
    """
    if not (settings.adapters or settings.adapter_dir):
        return None
    taken = 0
    try:
        for _, path in named_paths(settings.adapters):
            taken += tuning_at(path, loaded.model).size * loaded.model.dtype.itemsize
    except StartError as exc:
        raise StartError(f"--adapters: {exc}") from exc
    return adapter_room(free, taken, settings.adapter_memory, more=bool(settings.adapter_dir))


def _answers_memory(device: Device, settings: WorkerSettings, free: int) -> int:
    """Bytes for the answers in the making: what the flag says, or the usual share of `free`."""
    if settings.kv_memory is not None:
        return int(settings.kv_memory * GIB)
    kind = device.name.partition(":")[0]
    return int(max(free, 0) * SHARE.get(kind, USUAL_SHARE))


def _refuse_adapters(settings: WorkerSettings, reason: str) -> None:
    for flag, given in (("--adapters", settings.adapters), ("--adapter-dir", settings.adapter_dir)):
        if given:
            raise StartError(f"{flag} needs a model that runs in batches, and {reason}")


def _load_adapters(engine: BatchingEngine, settings: WorkerSettings) -> None:
    """Those of the flag; raises StartError, and leaves no engine behind."""
    try:
        for name, path in named_paths(settings.adapters):
            engine.adapters.load(name, path).result()
    except (ServeError, StartError) as exc:
        engine.close()
        raise StartError(f"--adapters: {exc}") from exc
