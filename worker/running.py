"""All requests of one engine, from their arrival to their closed box. Runs on the engine's thread.

Knows no inbox and no lock: nothing here is touched by another thread.
"""

import logging
from collections.abc import Callable, Sequence as Several
from itertools import groupby

from ..adapters.devices.device import Device
from ..adapters.errors import ServeError, UnknownModel
from .answer import Answer
from .blame import blamed
from .bound_pool import check_thread
from .drafting import Drafter, may_draft
from .draw import Choice
from .failures import Failures
from .hosted import Hosted
from .job import Job
from .outbox import Box
from .request import Request
from .scheduler import Plan, Scheduler
from .sequence import Sequence
from .steps import Choices, Flight, Steps
from .tunings import Tunings

log = logging.getLogger(__name__)

Close = Callable[[Box, ServeError | None], None]


class Running:
    """Owned by the engine's thread. `close` closes a box, and is called once for each arrival. At
    most `lookahead` tokens are drafted for an answer's step."""

    def __init__(
        self,
        hosted: Hosted,
        device: Device,
        scheduler: Scheduler,
        steps: Steps,
        failures: Failures,
        close: Close,
        *,
        tunings: Tunings,
        interval: int = 1,
        lookahead: int = 0,
    ) -> None:
        self._hosted = hosted
        self._device, self._failures, self._close = device, failures, close
        self._scheduler, self._steps = scheduler, steps
        self.tunings, self._lookahead = tunings, lookahead
        self._interval = interval
        self._requests: dict[Sequence, Request] = {}
        self._flight: Flight | None = None
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
        plan = self._steps.plan(self._drafts())
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
        found = self._steps.launch(plan, self._requests, before)
        if isinstance(found, Flight):
            self._flight = found
            return None
        if not found.moved:
            self._end_seated(found.error)
        return found.error

    def _land(self, flight: Flight) -> None:
        """Hand out what a step has chosen, to those who are still there."""
        choices = self._steps.land(flight)
        if isinstance(choices, ServeError):
            self._blame(flight.plan, choices, tokens_lost=True)
        else:
            self._hand_out(flight.plan, choices)

    def _hand_out(self, plan: Plan, choices: Choices) -> None:
        """A choice to each of `plan.due`; of a draft's, as many as are right."""
        price = self._steps.price
        drafts = {draft.sequence: draft.tokens for draft in plan.drafts}
        pairs = zip(plan.due, choices, strict=True)
        for sequence, own in groupby(pairs, key=lambda pair: pair[0]):
            found: Several[Choice | ServeError] = [choice for _, choice in own]
            sequence.coming -= len(found)
            if (request := self._requests.get(sequence)) is None:
                continue
            if sequence in drafts:
                found = self._steps.judge(request, drafts[sequence], found)
            for choice in found:
                self._publish(request, choice)
                if sequence not in self._requests:
                    break
            else:
                request.redraft(price)

    def _publish(self, request: Request, choice: Choice | ServeError) -> None:
        trouble = request.trouble or (choice if isinstance(choice, ServeError) else None)
        if trouble is not None or isinstance(choice, ServeError):
            self._end(request, trouble, keep=False)
            return
        try:
            finish = request.publish(choice)
        except Exception as exc:
            self._end(request, self._failures.explained(exc))
            return
        if finish is not None:
            self._end(request)

    def _blame(self, plan: Plan, error: ServeError, *, tokens_lost: bool = False) -> None:
        """End those whom the failure of a step concerns."""
        if self._failures.lost.done():
            self.end_all(error)
            return
        self._device.release_memory()
        for sequence in blamed(plan, self._requests, error, tokens_lost=tokens_lost):
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
        try:
            self._steps.leave(request, keep=keep)
        finally:
            self.tunings.leave(request.job.adapter)
