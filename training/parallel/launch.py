"""Joins the processes that torchrun started, each on the device that is its own."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from ...adapters.devices.device import Device, device_named, present
from ...adapters.devices.explain import told
from ...adapters.devices.fault import Fault
from ...adapters.errors import StartError
from ..peers import Repeated, alike

log = logging.getLogger(__name__)

T = TypeVar("T")

HOST = "cpu"
# What moves tensors between devices of a kind; numbers of the host's always go by gloo.
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "npu": "cpu:gloo,npu:hccl"}
# What gloo says when the process at the other end is gone, or silent for too long.
GONE = ("connection closed by peer", "connection reset", "broken pipe", "timed out", "timeout")


class Wanted(Protocol):
    """The settings that are read here."""

    @property
    def device(self) -> str: ...

    @property
    def use_cpu(self) -> bool: ...

    @property
    def ddp_timeout(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Process `rank` of `count`; on its machine it is `local` of `beside`."""

    rank: int = 0
    count: int = 1
    local: int = 0
    beside: int = 1


def place_in(environ: Mapping[str, str]) -> Place:
    """What torchrun says of this process; without it there is one. Raises StartError."""
    if "RANK" not in environ and "WORLD_SIZE" not in environ:
        return Place()
    rank, count = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
    local = _number(environ, "LOCAL_RANK", rank)
    beside = _number(environ, "LOCAL_WORLD_SIZE", max(1, local + 1))
    if not 0 <= rank < count or not 0 <= local < beside:
        raise StartError(
            f"RANK={rank} of WORLD_SIZE={count} and LOCAL_RANK={local} of "
            f"LOCAL_WORLD_SIZE={beside} cannot be; start the processes with torchrun"
        )
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environ]
    if count > 1 and missing:
        raise StartError(
            f"WORLD_SIZE is {count}, but {missing[0]} is not set; start the processes with torchrun"
        )
    return Place(rank, count, local, beside)


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise StartError(f"{name} is {text!r}, no number; start the processes with torchrun")
    return int(text)


def device_name(place: Place, settings: Wanted, present: Callable[[], Sequence[str]]) -> str:
    """What the device of this process is called: the card that is named, else its own of the kind.

    `present` are the devices of this machine, the best kind first. Raises StartError, in all
    processes of the machine, if there are more of them than cards.
    """
    wanted = HOST if settings.use_cpu else settings.device
    if settings.use_cpu and settings.device not in ("auto", HOST):
        raise StartError(f"--use_cpu and --device {settings.device} cannot both be; leave one out")
    kind, colon, _ = wanted.partition(":")
    if colon and place.beside > 1:
        raise StartError(
            f"--device {wanted} is one card, and {place.beside} processes were started on this "
            f"machine; say --device {kind}, and each takes its own"
        )
    if colon or kind == HOST:
        return wanted
    names = present()
    if kind == "auto":
        kind = names[0].partition(":")[0]
    cards = [name for name in names if name.startswith(f"{kind}:")]
    if cards and place.beside > len(cards):
        raise StartError(
            f"{place.beside} processes were started on this machine, and it has {len(cards)} of "
            f"{kind}; start torchrun with --nproc_per_node={len(cards)}"
        )
    return cards[place.local] if cards else kind


class Ranks:
    """`Peers` over torch.distributed, or one process by itself (`mesh` is None).

    Owned by the thread that joined; what it calls is bound to `device`.
    """

    def __init__(self, place: Place, device: torch.device, mesh: DeviceMesh | None) -> None:
        self.rank, self.count = place.rank, place.count
        self.device = device
        self.mesh = mesh

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Added in the order of ranks, so that all have the same to the bit."""
        mine = torch.tensor(numbers, dtype=torch.float64)
        if self.mesh is None:
            return tuple(mine.tolist())
        parts = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(parts, mine)
        return tuple(sum(parts[1:], start=parts[0]).tolist())

    def wait(self) -> None:
        """Until all are here."""
        self.total(0.0)  # gloo does not meet for nothing

    def told(self, value: T) -> T:
        """The first process' `value`, everywhere; the others' are not looked at."""
        if self.mesh is None:
            return value
        box: list[Any] = [value if self.first else None]
        dist.broadcast_object_list(box, src=0, device=torch.device(HOST))
        told: T = box[0]
        return told

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, which alone does it.

        A StartError there is raised by all, so that nobody waits for the others; as Repeated by
        these.
        """
        outcome: tuple[T | None, str | None] = (None, None)
        if self.first:
            try:
                outcome = (work(), None)
            except StartError as exc:
                outcome = (None, str(exc))
        done, wrong = self.told(outcome)
        if wrong is not None:
            raise (StartError if self.first else Repeated)(wrong)
        return done  # type: ignore[return-value]


@contextmanager
def joined(environ: Mapping[str, str], settings: Wanted) -> Iterator[Ranks]:
    """This process among its peers, its thread bound to its device, until the block ends.

    Raises StartError for what torchrun or --device name and is not there, if another process ends
    before its time or does not answer for `ddp_timeout` seconds, and if the device fails.
    """
    place = place_in(environ)
    with alike(place.local == 0):  # on another machine there may be other cards
        device = device_named(device_name(place, settings, present))
    bind(device)
    its = torch.device(device.name)
    if place.count == 1:
        with _of_device(device):
            yield Ranks(place, its, None)
        return
    with _of_device(device), _in_one_sentence(place, settings.ddp_timeout):
        dist.init_process_group(
            BACKENDS[its.type],
            rank=place.rank,
            world_size=place.count,
            timeout=timedelta(seconds=settings.ddp_timeout),
        )
        try:
            mesh = init_device_mesh(its.type, (place.count,), mesh_dim_names=("ranks",))
            device.bind_thread()  # a mesh may have bound it to the card that it thinks right
            yield Ranks(place, its, mesh)
        finally:
            dist.destroy_process_group()


def bind(device: Device) -> None:
    """Bind this thread to the device, after another one that ends.

    torch_npu keeps a card's context, for which collectives wait on other streams, from a thread
    that it binds itself; the first one of a process comes to it bound (`adapters/devices/npu.py`).
    """
    first = threading.Thread(target=device.bind_thread, name="first")
    first.start()
    first.join()
    device.bind_thread()


@contextmanager
def _of_device(device: Device) -> Iterator[None]:
    """What the device cannot do; what the program does wrong stays as it is."""
    try:
        yield
    except Exception as exc:
        fault = device.fault(exc)
        if fault is None:
            raise
        log.debug("the device fails", exc_info=True)
        why = (told(exc).splitlines() or ["no reason"])[0]
        if fault is Fault.OUT_OF_MEMORY:
            raise StartError(
                f"{device.name} is out of memory ({why}); give a smaller "
                "--per_device_train_batch_size and more --gradient_accumulation_steps, "
                "--gradient_checkpointing True, or --fsdp full_shard in more processes"
            ) from exc
        raise StartError(
            f"{device.name} answers nothing more: {why}; the same command goes on from the last "
            "checkpoint"
        ) from exc


@contextmanager
def _in_one_sentence(place: Place, patience: float) -> Iterator[None]:
    """A peer that is gone shows as an error of the connection to it."""
    try:
        yield
    except RuntimeError as exc:  # torch's own for these are among them
        said = str(exc)
        if not isinstance(exc, dist.DistError) and not any(w in said.lower() for w in GONE):
            raise
        log.debug("a peer is lost", exc_info=True)
        raise StartError(
            f"process {place.rank} of {place.count} lost another one, which ended or did not "
            f"answer for {patience:g} seconds: {(said.splitlines() or ['no reason'])[0]}"
        ) from exc
