"""All requests of one engine, from their arrival to their closed box. Runs on the engine's thread.

Knows no inbox and no lock: nothing here is touched by another thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..adapters.devices.device import Device
from ..adapters.errors import OutOfMemory, ServeError, UnknownModel
from ._shim import Sampler
from .answer import Answer
from .bound_pool import strayed
from .failures import Failures
from .hosted import Hosted
from .job import Job
from .logprobs import scored
from .outbox import Box
from .pace import Pace
from .runner import Result, Runner
from .sampler import Choice
from .scheduler import Plan, Scheduler
from .sequence import Sequence
from .tunings import Tunings

Close = Callable[[Box, ServeError | None], None]


@dataclass(eq=False, slots=True)
class Request:
    """One job with all that belongs to it.

    `seat` is its place in the sampler, once its prompt is read. `quoted` are the prompt's own
    tokens, where an echo is to show what the model made of them.
    """

    job: Job
    box: Box
    sequence: Sequence
    answer: Answer
    seat: int | None = None
    quoted: list[Choice] = field(default_factory=list)


class Running:
    """Owned by the engine's thread. `close` closes a box, and is called once for each arrival."""

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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._vocabulary = hosted.vocabulary
        self._device, self._failures, self._close = device, failures, close
        self._scheduler, self._runner, self._sampler = scheduler, runner, sampler
        self._pace, self._interval, self._clock = pace, interval, clock
        self.tunings = tunings
        self._seats = list(range(seats))
        self._requests: dict[Sequence, Request] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._requests)

    def arrive(self, job: Job, box: Box) -> None:
        """Take a job; it waits for its turn."""
        if not self.tunings.enter(job.adapter):
            gone = f"adapter {job.adapter.name!r} was unloaded before the request could begin"
            self._close(box, UnknownModel(gone, param="model"))
            return
        quoted = job.logprobs is not None and job.echo != ""
        sequence = Sequence(
            job.prompt_ids, number=self._arrivals, scored=quoted, adapter=job.adapter
        )
        self._arrivals += 1
        answer = Answer(job, self._vocabulary, self._interval)
        first = [Choice(job.prompt_ids[0])] if quoted else []
        self._requests[sequence] = Request(job, box, sequence, answer, quoted=first)
        self._scheduler.add(sequence)

    def step(self) -> None:
        """One token more for every answer that is being written."""
        # 1. admit: nobody whose reader has left
        for request in tuple(self._requests.values()):
            if request.box.abandoned:
                self._end(request)
        # 2. schedule
        decoding = self._scheduler.decoding
        plan = self._scheduler.plan(self._pace.budget(decoding))
        if plan.idle:
            return
        # 3. run
        started = self._clock()
        choices = self._run(plan)
        if choices is None:
            return
        self._pace.took(
            self._clock() - started, decoding=decoding, prompt_tokens=plan.prompt_tokens
        )
        # 4. publish
        for sequence, choice in zip(plan.due, choices, strict=True):
            self._publish(self._requests[sequence], choice)

    def end_all(self, error: ServeError) -> None:
        """Everybody is told, and nothing is kept of what was computed."""
        for request in tuple(self._requests.values()):
            self._end(request, error, keep=False)

    def _run(self, plan: Plan) -> list[Choice | ServeError] | None:
        """The choices for `plan.due`; None if the step failed and those to blame have been told."""
        try:
            self._check_thread()
            result = self._runner.run(plan)
            choices = self._choose(plan, result)
            self._score(result)
        except Exception as exc:
            error = self._failures.explained(exc)
        else:
            self._scheduler.done(plan)
            return choices
        self._blame(plan, error)  # out here the failure and its tensors are let go
        return None

    def _check_thread(self) -> None:
        """A thread that lost its device's context would go on upon another card."""
        found = self._device.where()
        if found != self._device.name:
            self._device.bind_thread()  # for the next step, which looks again
            raise strayed(found, self._device.name)

    def _choose(self, plan: Plan, result: Result) -> list[Choice | ServeError]:
        due = [self._requests[sequence] for sequence in plan.due]
        if not due:
            return []
        with torch.inference_mode():
            return self._sampler.choose(result.due, [self._seated(r) for r in due]).read()

    def _seated(self, request: Request) -> int:
        if request.seat is None:
            job = request.job
            request.seat = self._seats.pop()
            self._sampler.join(
                request.seat,
                job.sampling,
                job.prompt_ids,
                banned=sorted(job.stop_ids),
                min_tokens=job.min_tokens,
                logprobs=job.logprobs,
            )
        return request.seat

    def _score(self, result: Result) -> None:
        """What the model made of the prompts that are to be quoted with it."""
        for chunk, logits in result.scored:
            request = self._requests[chunk.sequence]
            following = request.job.prompt_ids[chunk.start + 1 : chunk.end + 1]
            request.quoted += scored(logits, following, request.job.logprobs or 0)
            if chunk.last:
                request.answer.quote(request.quoted)

    def _publish(self, request: Request, choice: Choice | ServeError) -> None:
        if isinstance(choice, ServeError):
            self._runner.wipe(request.sequence.seat)
            self._end(request, choice, keep=False)
            return
        request.sequence.tokens.append(choice.token)
        try:
            finish = request.answer.add(choice)
            piece = request.answer.piece(finish)
        except Exception as exc:
            self._end(request, self._failures.explained(exc))
            return
        if piece is not None:
            request.box.put(piece)
        if finish is not None:
            self._end(request)

    def _blame(self, plan: Plan, error: ServeError) -> None:
        """End those whom the failure of a step concerns: for want of memory the last one that came,
        so that the others can go on; else all that were in it."""
        if self._failures.lost.done():
            self.end_all(error)
            return
        everybody = [*plan.decode, *(chunk.sequence for chunk in plan.chunks)]
        short = isinstance(error, OutOfMemory)
        last = max(everybody, key=lambda s: (not s.decoding, s.order))
        for sequence in [last] if short else everybody:
            self._end(self._requests[sequence], error, keep=False)
        self._device.release_memory()

    def _end(self, request: Request, error: ServeError | None = None, *, keep: bool = True) -> None:
        self._scheduler.remove(request.sequence, keep=keep)
        if request.seat is not None:
            self._sampler.leave(request.seat)
            self._seats.append(request.seat)
        del self._requests[request.sequence]
        self.tunings.leave(request.job.adapter)
        self._close(request.box, error)
