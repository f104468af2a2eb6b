"""Who serves what, and how busy each is. Pure: no socket; the clock and chance are given."""

import logging
import random
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..adapters.errors import NoWorker, UnknownModel
from ..adapters.wire.fastchat import WorkerStatus
from .dispatch import Candidate, Chance, Policy, shortest_queue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """What is known of a worker.

    `last_word` is when it last said how it is, `last_contact` when its port was last seen open.
    `reported` is the queue that it last told of, `leased_then` how many of our leases were open at
    that moment, `handed` how often its address was given away since.
    """

    address: str
    models: tuple[str, ...]
    speed: float
    reported: int
    leased_then: int
    last_word: float
    last_contact: float
    check_heart_beat: bool = True
    multimodal: bool = False
    handed: int = 0


class Registry:
    """The workers by address, in the order in which they joined.

    Owned by the event loop: call it from there only. No method waits, so that each is one step.
    """

    def __init__(
        self,
        expiry: float,
        policy: Policy = shortest_queue,
        *,
        chance: Chance = random.random,
    ) -> None:
        self._expiry, self._policy, self._chance = expiry, policy, chance
        self._workers: dict[str, Worker] = {}
        self._leased: Counter[str] = Counter()  # outlives the entry: a worker may come back

    def join(
        self,
        address: str,
        status: WorkerStatus,
        *,
        now: float,
        check_heart_beat: bool = True,
        multimodal: bool = False,
    ) -> None:
        """Take a worker in, or replace what was known of it."""
        self._workers[address] = Worker(
            address=address,
            models=tuple(status.model_names),
            speed=status.speed,
            reported=status.queue_length,
            leased_then=self._leased[address],
            last_word=now,
            last_contact=now,
            check_heart_beat=check_heart_beat,
            multimodal=multimodal,
        )
        log.info("worker joined address=%s models=%s", address, ",".join(status.model_names))

    def beat(self, address: str, queue_length: int, now: float) -> bool:
        """Take in a heart-beat; False from a worker that is not known."""
        worker = self._workers.get(address)
        if worker is None:
            return False
        self._workers[address] = self._told(worker, queue_length, now)
        return True

    def update(self, address: str, status: WorkerStatus, now: float) -> bool:
        """Take in what a worker said when it was asked; it is a sign of life like a heart-beat."""
        worker = self._workers.get(address)
        if worker is None:
            return False
        told = self._told(worker, status.queue_length, now)
        self._workers[address] = replace(told, models=tuple(status.model_names), speed=status.speed)
        return True

    def touch(self, address: str, now: float) -> None:
        """Its port is open; that says nothing of the program behind it."""
        if address in self._workers:
            self._workers[address] = replace(self._workers[address], last_contact=now)

    def leave(self, address: str) -> bool:
        """A worker says goodbye; False from one that is not known."""
        if self._workers.pop(address, None) is None:
            return False
        log.info("worker left address=%s", address)
        return True

    def lose(self, address: str, since: float, why: str) -> None:
        """Nothing served at `address` when it was tried at `since`; what it said later counts."""
        worker = self._workers.get(address)
        if worker is not None and worker.last_word <= since:
            del self._workers[address]
            log.warning("worker lost address=%s: %s", address, why)

    def expire(self, now: float) -> list[str]:
        """Drop the workers that owe heart-beats and went quiet; their addresses."""
        quiet = [
            worker.address
            for worker in self._workers.values()
            if worker.check_heart_beat and now - worker.last_word > self._expiry
        ]
        for address in quiet:
            del self._workers[address]
            log.warning("worker expired address=%s: no word for %g s", address, self._expiry)
        return quiet

    @contextmanager
    def lease(self, model: str, avoid: Collection[str] = frozenset()) -> Iterator[str]:
        """The address of a worker for `model`, counted as busy until the block is left.

        Raises UnknownModel if nobody serves it, NoWorker if nobody but those of `avoid` does.
        """
        address = self._chosen(model, avoid).address
        self._leased[address] += 1
        try:
            yield address
        finally:
            self._leased[address] -= 1
            if not self._leased[address]:
                del self._leased[address]

    def hand_out(self, model: str) -> Worker | None:
        """A worker whose address somebody gets; it counts as busy until its next word."""
        try:
            worker = self._chosen(model, ())
        except (UnknownModel, NoWorker):
            return None
        self._workers[worker.address] = replace(worker, handed=worker.handed + 1)
        return worker

    def addresses(self) -> list[str]:
        return list(self._workers)

    def models(self, multimodal: bool | None = None) -> list[str]:
        """The names that are served, sorted; only of the workers that are multimodal, or not."""
        workers = self._workers.values()
        return sorted({m for w in workers if multimodal in (None, w.multimodal) for m in w.models})

    def load(self, address: str) -> int:
        """Requests at a worker: ours, those that others sent by its last word, and those since."""
        leased, worker = self._leased[address], self._workers.get(address)
        if worker is None:
            return leased
        return leased + max(0, worker.reported - worker.leased_then) + worker.handed

    def total(self) -> WorkerStatus:
        """All workers as if they were one."""
        return WorkerStatus(
            model_names=self.models(),
            speed=sum(worker.speed for worker in self._workers.values()),
            queue_length=sum(self.load(address) for address in self._workers),
        )

    def _told(self, worker: Worker, queue_length: int, now: float) -> Worker:
        return replace(
            worker,
            reported=queue_length,
            leased_then=self._leased[worker.address],
            handed=0,
            last_word=now,
            last_contact=now,
        )

    def _chosen(self, model: str, avoid: Collection[str]) -> Worker:
        serving = [w for w in self._workers.values() if model in w.models]
        if not serving:
            raise UnknownModel(f"nobody serves model {model!r}", param="model")
        candidates = [
            Candidate(w.address, self.load(w.address), w.speed)
            for w in serving
            if w.address not in avoid
        ]
        chosen = self._policy(candidates, self._chance)
        if chosen is None:
            raise NoWorker(f"no worker that serves {model!r} can be reached now; try again")
        return self._workers[chosen.address]
