"""Has the steps that only decode recorded while a worker starts, where that gives what it should.

Each recording is tried before it is used: a number of the host's that got into it, or a kernel that
cannot be recorded, would give wrong tokens without a word. Changes the cache.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from ..adapters.devices.device import Device, Recorder
from ..adapters.devices.explain import meaning_of
from ..adapters.devices.fault import Fault
from ..adapters.errors import StartError
from .kv_cache import KvCache
from .kv_room import GIB
from .loading import Progress
from .replay import Replays
from .runner import Runner
from .scheduler import Plan
from .sequence import Sequence
from .shapes import Shapes
from .suitability import CLOSE, CLOSE_IN_HALF
from .weights import READING

log = logging.getLogger(__name__)

ON, OFF = "on", "off"
APART = 13  # entries, and more: places of rows in a trial differ by as many
WORDS = 7  # ids that every model knows


class Different(Exception):
    """A replay gives something else than the step itself."""


def record(
    runner: Runner, cache: KvCache, shapes: Shapes, device: Device, wanted: str, progress: Progress
) -> None:
    """Give the runner a recording of every shape; where steps are to be run as they are, none, and
    say why in the log.

    Where recordings are `wanted` by name, what keeps them away is a StartError. A device that is
    lost in the attempt raises what its library does.
    """
    free = device.free_memory()
    try:
        recorder = device.recorder() if shapes.fixed and wanted != OFF else None
        if recorder is None:
            if wanted == ON:
                raise StartError(nothing_records(device))
            return
        replays = _all(runner, cache, shapes, recorder, progress)
    except StartError:
        raise
    except Exception as exc:
        if device.fault(exc) is Fault.LOST:
            raise
        _give_up(wanted, _line(exc), exc)
    else:
        taken = max(free - device.free_memory(), 0)
        log.info("decode steps are recorded shapes=%d memory=%.2fGiB", len(replays), taken / GIB)
        runner.replays = replays
        return
    device.release_memory()  # out here the failure and its tensors are let go
    _clear(cache)


def beside(runner: Runner, work: Callable[[], None], device: Device, wanted: str) -> None:
    """Do `work`; where there is no memory for it beside the runner's recordings, let these go, and
    do it again."""
    try:
        work()
    except Exception as exc:
        if runner.replays is None or device.fault(exc) is not Fault.OUT_OF_MEMORY:
            raise
        _give_up(wanted, "no memory is left beside the recordings", exc)
    else:
        return
    runner.replays = None
    device.release_memory()
    work()


def nothing_records(device: Device) -> str:
    return f"--graphs on: {device.name} records no steps; leave it out"


def _give_up(wanted: str, why: str, exc: Exception) -> None:
    if wanted == ON:
        raise StartError(f"--graphs on: {why}; leave it out") from exc
    ours = not isinstance(exc, RuntimeError | MemoryError | Different)  # a fault that is to be seen
    told = "decode steps are not recorded (--graphs off does not try): %s"
    log.warning(told, why, exc_info=exc if ours else None)


def _line(exc: Exception) -> str:
    said = str(exc).splitlines() or [type(exc).__name__]
    return f"{said[0]}{meaning_of(exc)}"


def _all(
    runner: Runner, cache: KvCache, shapes: Shapes, recorder: Recorder, progress: Progress
) -> Replays:
    """The largest first: what smaller ones need then lies in its memory."""
    replays = Replays(recorder, shapes.rows, cache.keys[0].device)
    sizes = [(rows, length) for rows in shapes.all_rows() for length in shapes.all_lengths()][::-1]
    apart = []
    _fill(cache)
    for number, (rows, length) in enumerate(sizes):
        done = number / len(sizes)
        progress.set(READING + (1 - READING) / 2 * done, f"recording {number + 1}/{len(sizes)}")
        plan = _plan(rows, length)
        runner.record(plan, replays, like=runner.run(plan).due)
        apart.append(_apart(runner, replays, _other_plan(rows, length, shapes)))
    _clear(cache)
    half = cache.keys[0].dtype != torch.float32
    worst = float(torch.stack(apart).max())
    if not worst < (CLOSE_IN_HALF if half else CLOSE):
        raise Different(f"a recording's results differ by {worst:.2g} of their spread")
    return replays


def _apart(runner: Runner, replays: Replays, plan: Plan) -> Tensor:
    """How far a replay's results are from the step's own, of their spread. The replay comes first:
    what it fails to write is not there yet."""
    runner.replays = replays
    try:
        given = runner.run(plan).due.float()
    finally:
        runner.replays = None
    own = runner.run(plan).due.float()
    return (given - own).std() / own.std()


@torch.inference_mode()
def _fill(cache: KvCache) -> None:
    """So that what a token sees, and from where, shows in its logits."""
    for tensor in (*cache.keys, *cache.values):
        tensor.normal_()


@torch.inference_mode()
def _clear(cache: KvCache) -> None:
    for tensor in (*cache.keys, *cache.values):
        tensor.zero_()


def _plan(rows: int, length: int) -> Plan:
    return Plan((), tuple(_writing(slot, 0, length - 1) for slot in range(rows)), ())


def _other_plan(rows: int, length: int, shapes: Shapes) -> Plan:
    """Of the same shape, and nothing else alike: other tokens at other places, and a slot that is
    nobody's where there are three."""
    last = length - 2 if shapes.length_for(length - 1) == length else length - 1
    own = (_writing(slot, 1 + slot % WORDS, max(last - slot % APART, 0)) for slot in range(rows))
    return Plan((), tuple(each for each in own if rows < 3 or each.slot != 1), ())


def _writing(slot: int, token: int, place: int) -> Sequence:
    """One in this slot whose next token is this one, at this place."""
    sequence = Sequence([0] * place + [token])
    sequence.slot, sequence.computed = slot, place
    return sequence
