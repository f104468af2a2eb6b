"""All requests of one engine, from their arrival to their closed box. Runs on the engine's thread.

Knows no inbox and no lock: nothing here is touched by another thread.
"""

import logging
import time
from collections.abc import Callable, Sequence as Several
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby

from torch import Tensor

from ..adapters.devices.device import Device
from ..adapters.errors import OutOfMemory, ServeError, UnknownModel
from .answer import Answer
from .bound_pool import check_thread
from .drafting import Drafter, may_draft
from .draw import Choice, Draw
from .failures import Failures, bare
from .grammar import Grammar
from .hosted import Hosted
from .job import Job
from .logprobs import scored
from .outbox import Box
from .pace import Pace
from .parcel import Parcel
from .replay import Chosen
from .runner import Result, Runner
from .sampler import Sampler
from .scheduler import Plan, Scheduler
from .sequence import Sequence
from .tunings import Tunings

log = logging.getLogger(__name__)

Close = Callable[[Box, ServeError | None], None]


@dataclass(eq=False, slots=True)
class Request:
    """One job with all that belongs to it.

    `seat` is its place in the sampler, once its prompt is read. `trouble` is why its answer cannot
    go on, whatever is chosen for it. `quoted` are the prompt's own
    tokens, where it is asked what the model made of them. `draft` are tokens that may come after
    those that are known, by its `drafter`.
    """

    job: Job
    box: Box
    sequence: Sequence
    answer: Answer
    grammar: Grammar | None = None
    seat: int | None = None
    trouble: ServeError | None = None
    quoted: list[Choice] = field(default_factory=list)
    drafter: Drafter | None = None
    draft: list[int] = field(default_factory=list)

    @property
    def produced(self) -> int:
        """Tokens of the answer; the first one has shown that what was computed are numbers."""
        return len(self.sequence.tokens) - len(self.sequence.prompt)

    def redraft(self, price: float) -> None:
        """Think of what may come next, where a guess is worth its price. Then the last token must
        be known before the next step."""
        if self.drafter is None:
            return
        room = self.sequence.most - len(self.sequence.tokens) - 1
        may = may_draft(self.job, self.produced)
        self.draft = self.drafter.draft(room, price) if may else []
        self.sequence.awaited = bool(self.draft)


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


class Running:
    """Owned by the engine's thread. `close` closes a box, and is called once for each arrival. At
    most `lookahead` tokens are drafted for an answer's step."""

    def __init__(
        self,
        hosted: Hosted,
        device: Device,
        scheduler: Scheduler,
        runner: Runner,
        sampler: Sampler,
        failures: Failures,
        close: Close,
        *,
        tunings: Tunings,
        pace: Pace,
        seats: int,
        interval: int = 1,
        lookahead: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._hosted = hosted
        self._device, self._failures, self._close = device, failures, close
        self._scheduler, self._runner, self._sampler = scheduler, runner, sampler
        self._pace, self._interval, self._clock = pace, interval, clock
        self.tunings, self._lookahead = tunings, lookahead
        self._seats = list(range(seats))
        self._requests: dict[Sequence, Request] = {}
        self._flight: Flight | None = None
        self._landed = 0.0  # when the last step was published
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._requests)

    def arrive(self, job: Job, box: Box) -> None:
        """Take a job; it waits for its turn."""
        scored = job.scored is not None
        sequence = Sequence(
            job.prompt_ids,
            number=self._arrivals,
            priority=job.priority,
            most=len(job.prompt_ids) + job.max_new_tokens,
            scored=scored,
            adapter=job.adapter,
            awaited=job.grammar is not None,
        )
        self._arrivals += 1
        request = Request(
            job,
            box,
            sequence,
            Answer(job, self._hosted.vocabulary, self._interval),
            self._hosted.begun(job),
            quoted=[Choice(job.prompt_ids[0])] if scored else [],
            drafter=self._drafter(job, sequence),
        )
        if not self.tunings.enter(job.adapter):  # last: nothing may fail once it is counted on
            gone = f"adapter {job.adapter.name!r} was unloaded before the request could begin"
            self._close(box, UnknownModel(gone, param="model"))
            return
        self._requests[sequence] = request
        self._scheduler.add(sequence)

    def _drafter(self, job: Job, sequence: Sequence) -> Drafter | None:
        drafts = self._lookahead > 0 and may_draft(job, job.max_new_tokens)
        if not drafts:
            return None
        return Drafter(sequence.tokens, len(job.prompt_ids), self._lookahead)

    def step(self) -> None:
        """One token more for every answer that is being written.

        Where the device works while the host does, the step before is published only when this one
        is on its way: its tokens are fed to it without having been here.
        """
        # 1. admit: nobody whose reader has left
        for request in tuple(self._requests.values()):
            if request.box.abandoned:
                self._end(request)
        if not self._checked():
            return
        # 2. schedule
        plan = self._scheduler.plan(self._pace.budget(self._scheduler.decoding), self._drafts())
        # 3. run
        before, self._flight = self._flight, None
        failed = None if plan.idle else self._launch(plan, before)
        # 4. publish
        if before is not None:
            self._land(before)
        if failed is not None:
            self._blame(plan, failed)
        elif self._flight is not None and not self._flight.may_stay:
            self._flight = self._land(self._flight)
        if not self._requests:
            self._flight = None  # nobody waits for it, and idleness is no part of its time

    def end_all(self, error: ServeError) -> None:
        """Everybody is told, and nothing is kept of what was computed."""
        self._flight = None
        for request in tuple(self._requests.values()):
            try:
                self._end(request, error, keep=False)
            except Exception as exc:  # its box is closed; the others' are to be, too
                self._failures.explained(exc)

    def _drafts(self) -> dict[Sequence, list[int]]:
        """Of those whose last token is known."""
        requests = self._requests.values()
        return {r.sequence: r.draft for r in requests if r.draft and not r.sequence.coming}

    def _checked(self) -> bool:
        """Whether the thread is on its device: one that strayed would go on upon another card."""
        try:
            check_thread(self._device)
        except Exception as exc:
            self.end_all(self._failures.explained(exc))
            return False
        return True

    def _launch(self, plan: Plan, before: Flight | None) -> ServeError | None:
        """Put the step on its way; what went wrong, if it did."""
        started, moved = self._clock(), False
        try:
            self._runner.move(plan)
            moved = True
            result = self._runner.run(plan, before.chosen if before else None)
            self._score(result)
            draw = self._choose(plan, result)
        except Exception as exc:
            failed = self._failures.explained(exc)
        else:
            self._scheduler.done(plan)
            for sequence in plan.due:
                sequence.coming += 1
            ahead = self._device.asynchronous and (draw is None or draw.final_without_read)
            beacon = Parcel([result.due[:, :1]]) if draw is None else None
            self._flight = Flight(plan, draw, beacon, started, may_stay=ahead)
            return None
        if moved:
            self._erase_drafts(plan)
        else:
            self._end_seated(failed)
        return failed

    def _erase_drafts(self, plan: Plan) -> None:
        """What a failed step made of guesses lies beyond what a sequence's end would wipe."""
        for draft in plan.drafts:
            with suppress(Exception):  # the device may be gone, and all with it
                self._runner.erase(draft.sequence, 1 + len(draft.tokens))

    def _land(self, flight: Flight) -> None:
        """Hand out what a step has chosen, to those who are still there."""
        try:
            if flight.beacon is not None:
                flight.beacon.open()
            choices = flight.draw.read() if flight.draw else []
        except Exception as exc:
            failed = self._failures.explained(exc)
        else:
            now = self._clock()
            self._pace.took(
                now - max(flight.started, self._landed),
                decoding=len(flight.plan.writing),
                prompt_tokens=flight.plan.prompt_tokens,
                drafted=flight.plan.drafted,
            )
            self._landed = now
            self._hand_out(flight.plan, choices)
            return
        self._blame(
            flight.plan, failed, everybody=True
        )  # out here the failure and its tensors are let go

    def _hand_out(self, plan: Plan, choices: Several[Choice | ServeError]) -> None:
        """A choice to each of `plan.due`; of a draft's, as many as are right."""
        price = self._pace.price(self._scheduler.decoding)
        drafts = {draft.sequence: draft.tokens for draft in plan.drafts}
        pairs = zip(plan.due, choices, strict=True)
        for sequence, own in groupby(pairs, key=lambda pair: pair[0]):
            found: Several[Choice | ServeError] = [choice for _, choice in own]
            sequence.coming -= len(found)
            if (request := self._requests.get(sequence)) is None:
                continue
            if sequence in drafts:
                found = self._judged(request, drafts[sequence], found)
            for choice in found:
                self._publish(request, choice)
                if sequence not in self._requests:
                    break
            else:
                request.redraft(price)

    def _judged(
        self, request: Request, draft: Several[int], choices: Several[Choice | ServeError]
    ) -> list[Choice]:
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

    def _choose(self, plan: Plan, result: Result) -> Draw | None:
        due = [self._requests[sequence] for sequence in plan.due]
        if not due:
            return None
        seats = [self._seated(request) for request in due]
        masks = {seat: _mask(request) for seat, request in zip(seats, due, strict=True)}
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

    def _score(self, result: Result) -> None:
        """What the model made of the prompts that are to be quoted with it."""
        for chunk, logits in result.scored:
            request = self._requests[chunk.sequence]
            following = request.job.prompt_ids[chunk.start + 1 : chunk.end + 1]
            try:
                found = scored(logits, following, request.job.scored or 0)
            except ServeError as exc:
                request.trouble = bare(exc)
                continue
            request.quoted[chunk.start + 1 :] = found  # a step may be run a second time
            if chunk.last:
                request.answer.quote(request.quoted)

    def _publish(self, request: Request, choice: Choice | ServeError) -> None:
        trouble = request.trouble or (choice if isinstance(choice, ServeError) else None)
        if trouble is not None or isinstance(choice, ServeError):
            self._end(request, trouble, keep=False)
            return
        request.sequence.tokens.append(choice.token)
        try:
            finish = request.answer.add(choice, ended=_ended(request, choice))
            piece = request.answer.piece(finish)
        except Exception as exc:
            self._end(request, self._failures.explained(exc))
            return
        if piece is not None:
            request.box.put(piece)
        if finish is not None:
            self._end(request)

    def _blame(self, plan: Plan, error: ServeError, *, everybody: bool = False) -> None:
        """End those whom the failure of a step concerns: for want of memory the last one that came,
        so that the others can try again; else, or once their tokens are lost, all of them."""
        if self._failures.lost.done():
            self.end_all(error)
            return
        concerned = [*plan.writing, *(chunk.sequence for chunk in plan.chunks)]
        there = [sequence for sequence in concerned if sequence in self._requests]
        there.sort(key=lambda s: (not s.decoding, s.order))
        one = isinstance(error, OutOfMemory) and not everybody
        self._device.release_memory()
        for sequence in there[-1:] if one else there:
            self._end(self._requests[sequence], error, keep=False)

    def _end_seated(self, error: ServeError) -> None:
        """Nobody knows any more what lies in which slot."""
        for request in tuple(self._requests.values()):
            if request.sequence.slot is not None:
                self._end(request, error, keep=False)
        self._scheduler.forget()

    def _end(self, request: Request, error: ServeError | None = None, *, keep: bool = True) -> None:
        """The request is over. Its tokens' keys and values are kept for prompts to come, once a
        token has shown that they are numbers; if not, nothing of them may stay."""
        del self._requests[request.sequence]
        if request.drafter is not None and request.drafter.tried:
            log.info(
                "looked ahead tried=%d right=%d tokens=%d",
                request.drafter.tried,
                request.drafter.right,
                request.produced,
            )
        try:
            self._clear_up(request, keep and request.produced > 0)
        finally:
            self._close(request.box, error)

    def _clear_up(self, request: Request, keep: bool) -> None:
        sequence = request.sequence
        try:
            if sequence.slot is not None and not self._failures.lost.done():
                self._runner.wipe(sequence, keep=keep)
        finally:
            self._scheduler.remove(sequence, keep=keep)
            if request.seat is not None:
                self._sampler.leave(request.seat)
                self._seats.append(request.seat)
            self.tunings.leave(request.job.adapter)


def _mask(request: Request) -> Tensor | None:
    """What the request's grammar allows; one that cannot be followed troubles nobody else."""
    try:
        return None if request.grammar is None else request.grammar.mask()
    except ServeError as exc:
        request.trouble = bare(exc)
        return None


def _ended(request: Request, choice: Choice) -> bool:
    """Whether nothing can follow the token where the answer follows a grammar."""
    if request.grammar is None:
        return False
    request.grammar.accept(choice.token)
    return request.grammar.finished
