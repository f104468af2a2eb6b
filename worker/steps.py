"""Steps on the device: put on their way by plan, and read when they are over. Knows no text."""

import time
from collections.abc import Callable, Mapping, Sequence as Several
from contextlib import suppress
from dataclasses import dataclass

from ..adapters.devices.device import Device
from ..adapters.errors import ServeError
from .draw import Choice, Draw
from .failures import Failures
from .pace import Pace
from .parcel import Parcel
from .replay import Chosen
from .request import Request
from .runner import Result, Runner
from .sampler import Sampler
from .scheduler import Plan, Scheduler
from .sequence import Sequence

Requests = Mapping[Sequence, Request]
Choices = Several[Choice | ServeError]


@dataclass(frozen=True, slots=True)
class Flight:
    """A step that was given to the device. `draw` is None where no token was due, and a `beacon`
    tells that it is over. One that `may_stay` need not be read before the next step is given to the
    device, too."""

    plan: Plan
    draw: Draw | None
    beacon: Parcel | None
    started: float
    may_stay: bool

    @property
    def chosen(self) -> Chosen | None:
        """The tokens that are on the device."""
        if self.draw is None:
            return None
        return Chosen(self.draw.tokens, {s: i for i, s in enumerate(self.plan.due)})


@dataclass(frozen=True, slots=True)
class Grounded:
    """A step that could not be given to the device. Unless its slots were `moved`, nobody knows any
    more what lies in which."""

    error: ServeError
    moved: bool


class Steps:
    """Owned by the engine's thread. Requests that get tokens sit in the sampler on one of so many
    `seats`, from their first token until they leave."""

    def __init__(
        self,
        device: Device,
        scheduler: Scheduler,
        runner: Runner,
        sampler: Sampler,
        failures: Failures,
        *,
        pace: Pace,
        seats: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._device, self._failures = device, failures
        self._scheduler, self._runner, self._sampler = scheduler, runner, sampler
        self._pace, self._clock = pace, clock
        self._seats = list(range(seats))
        self._landed = 0.0  # when the last step was read

    @property
    def price(self) -> float:
        """What a guess costs beside the answers that are being written, in their tokens."""
        return self._pace.price(self._scheduler.decoding)

    def plan(self, drafts: Mapping[Sequence, Several[int]]) -> Plan:
        """The next one, which tries `drafts`."""
        budget = self._pace.budget(self._scheduler.decoding, self._scheduler.reading)
        return self._scheduler.plan(budget, drafts)

    def launch(self, plan: Plan, requests: Requests, before: Flight | None) -> Flight | Grounded:
        """Put a step on its way, behind the one `before`, whose tokens it needs."""
        started, moved = self._clock(), False
        try:
            self._runner.move(plan)
            moved = True
            result = self._runner.run(plan, before.chosen if before else None)
            for chunk, logits in result.scored:
                requests[chunk.sequence].score(chunk, logits)
            draw = self._choose(plan, requests, result)
        except Exception as exc:
            failed = self._failures.explained(exc)
        else:
            self._scheduler.done(plan)
            for sequence in plan.due:
                sequence.coming += 1
            ahead = self._device.asynchronous and (draw is None or draw.final_without_read)
            beacon = Parcel([result.due[:, :1]]) if draw is None else None
            return Flight(plan, draw, beacon, started, may_stay=ahead)
        if moved:
            self._erase_drafts(plan)
        return Grounded(failed, moved)

    def land(self, flight: Flight) -> Choices | ServeError:
        """What was chosen, once it is here: one for each of `Plan.due`."""
        try:
            if flight.beacon is not None:
                flight.beacon.open()
            choices = flight.draw.read() if flight.draw else []
        except Exception as exc:
            return self._failures.explained(exc)
        now = self._clock()
        self._pace.took(
            now - max(flight.started, self._landed),
            decoding=len(flight.plan.writing),
            prompt_tokens=flight.plan.prompt_tokens,
            drafted=flight.plan.drafted,
        )
        self._landed = now
        return choices

    def judge(self, request: Request, draft: Several[int], choices: Choices) -> list[Choice]:
        """Those that stand. What was computed for the others lies beyond the sequence's end, where
        it is overwritten; unless it is not a number, which may not lie anywhere. Whether that comes
        of a guess or of the answer is shown by the next step, which tries none."""
        assert request.drafter is not None and request.seat is not None
        found = request.drafter.judge(draft, choices)
        wrong = len(choices) - len(found)
        request.sequence.computed -= wrong
        if any(isinstance(choice, ServeError) for choice in choices):
            self._runner.erase(request.sequence, wrong)
            request.drafter.give_up()
        self._sampler.advance(request.seat, [choice.token for choice in found])
        return found

    def leave(self, request: Request, *, keep: bool) -> None:
        """The request is in no step any more; `keep` what its slot holds for prompts to come."""
        sequence = request.sequence
        try:
            if sequence.slot is not None and not self._failures.lost.done():
                self._runner.wipe(sequence, keep=keep)
        finally:
            self._scheduler.remove(sequence, keep=keep)
            if request.seat is not None:
                self._sampler.leave(request.seat)
                self._seats.append(request.seat)

    def _choose(self, plan: Plan, requests: Requests, result: Result) -> Draw | None:
        due = [requests[sequence] for sequence in plan.due]
        if not due:
            return None
        seats = [self._seated(request) for request in due]
        masks = {seat: request.mask() for seat, request in zip(seats, due, strict=True)}
        allowed = {s: mask.to(result.due.device) for s, mask in masks.items() if mask is not None}
        return self._sampler.choose(result.due, seats, allowed, plan.ahead if plan.drafts else None)

    def _seated(self, request: Request) -> int:
        if request.seat is None:
            job = request.job
            self._sampler.join(
                self._seats[-1],
                job.sampling,
                job.prompt_ids,
                banned=sorted(job.stop_ids),
                min_tokens=job.min_tokens,
                logprobs=job.logprobs,
            )
            request.seat = self._seats.pop()  # not before the sampler has it, too
        return request.seat

    def _erase_drafts(self, plan: Plan) -> None:
        """What a failed step made of guesses lies beyond what a sequence's end would wipe."""
        for draft in plan.drafts:
            with suppress(Exception):  # the device may be gone, and all with it
                self._runner.erase(draft.sequence, 1 + len(draft.tokens))
