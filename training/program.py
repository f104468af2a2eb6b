"""Puts the parts of a training together: data, model, course, checkpoints, and what is shown."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from ..adapters.devices.device import device_named
from ..adapters.errors import StartError
from .asking import Asked
from .course.loop import Course, End, Outcome, train as go_through
from .course.optimiser import optimiser_for
from .course.precision import Precision, precision_for
from .course.student import Student
from .learner import recompute_layers
from .methods.choice import method_for
from .methods.method import Method, base_of
from .parallel.checkpoints import Checkpoints, Trained
from .parallel.folders import name_of, to_resume
from .parallel.launch import Ranks, joined
from .parallel.loading import Begun, begin
from .parallel.resuming import facts_of, resume, with_known_best
from .peers import alike
from .progress import Progress
from .run.environment import environment
from .run.folder import RunFolder, command_line, written
from .run.interruption import Interruption
from .run.output_dir import OutputDir
from .run.several import Several
from .run.summary import Account, told
from .run.telling import telling
from .settings import TrainingSettings, samples_root
from .supply import Supply, supply

log = logging.getLogger(__name__)

WIDTH = 64  # rows are padded to a multiple of so many tokens where a new shape costs


def train(asked: Asked[TrainingSettings], argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """The whole program after its settings; raises StartError for what cannot be done."""
    disable_progress_bar()  # type: ignore[no-untyped-call]  # one bar is enough
    for note in asked.notes:
        log.info("%s", note)
    settings = asked.settings
    with joined(environ, settings) as ranks, OutputDir() as out:
        ranks.by_first(lambda: out.claim(settings))
        _allow_tf32(settings, ranks.device)
        data = supply(settings, ranks, samples_root(environ))
        run = Run(settings, ranks, data)
        ranks.by_first(lambda: out.clear(settings))
        at = run.go_on()
        command = command_line(argv, environ)
        ranks.by_first(lambda: _record(settings, ranks, command, data))
        run.go_through(at)


def _record(settings: TrainingSettings, ranks: Ranks, command: str, data: Supply) -> None:
    """What this run is, now that it can begin."""
    folder = RunFolder(Path(settings.output_dir))
    folder.begin(settings, command, environment(_name(ranks.device), ranks.count))
    try:
        for name, report in data.reports.items():
            report.write(folder.path, name)
    except OSError as exc:
        raise StartError(f"cannot write to {str(folder.path)!r}: {exc.strerror}") from exc


def _allow_tf32(settings: TrainingSettings, device: torch.device) -> None:
    if settings.tf32 is None:
        return
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = settings.tf32
        torch.backends.cudnn.allow_tf32 = settings.tf32
    else:
        log.info("--tf32 changes nothing: it is a number format of GPUs, and this is %s", device)


def _name(device: torch.device) -> str:
    """A card's own name, or cpu."""
    if device.type == "cpu":
        return "cpu"
    return f"{device.type} {torch.get_device_module(device).get_device_name(device)}"


class Run:
    """A training that is ready to go: what learns, on its device, and what keeps it."""

    def __init__(self, settings: TrainingSettings, ranks: Ranks, data: Supply) -> None:
        self._settings, self._ranks, self._data = settings, ranks, data
        device = device_named(str(ranks.device))
        self._multiple = WIDTH if device.fixed_shapes else 1
        precision = _precision(settings, ranks.device.type, device.bfloat16)
        method = method_for(settings)
        begun = begin(settings, ranks, method, precision)
        self._student = _student(settings, ranks, begun, precision)
        self._facts = facts_of(settings, data.samples.digest, ranks.count)
        self._keeper = Checkpoints(
            Path(settings.output_dir),
            _trained(settings, method, begun, self._student),
            ranks,
            self._facts,
            limit=settings.save_total_limit,
            keep_best=settings.load_best_model_at_end,
        )

    def go_on(self) -> Progress:
        """Where it begins, weights and optimiser included."""
        out = Path(self._settings.output_dir)
        wanted = self._settings.resume_from_checkpoint
        checkpoint = self._ranks.by_first(lambda: to_resume(wanted, out))
        if checkpoint is None:
            return Progress()
        student = self._student
        at = resume(checkpoint, student.learner, student.optimiser, self._ranks, self._facts)
        best = self._settings.load_best_model_at_end
        return with_known_best(at, out, self._ranks) if best else at

    def go_through(self, at: Progress) -> None:
        """Train, put the result where it is served from, and say how it was."""
        account = Account()
        first = self._ranks.first
        heard = telling(self._settings, account, time.monotonic) if first else nullcontext(NOBODY)
        say = log.warning if first else log.info
        with heard as listener, Interruption(say) as interrupted, alike(self._ranks.first):
            outcome = go_through(
                Course(
                    self._settings,
                    self._student,
                    self._data.samples,
                    self._ranks,
                    self._keeper,
                    listener,
                    evaluation=self._data.evaluation,
                    multiple=self._multiple,
                    interrupted=interrupted,
                ),
                at,
            )
        whole = outcome.end is not End.INTERRUPTED
        if whole:
            self._keeper.publish(outcome.at, self._best(outcome))
        if first:
            self._say(account, outcome, whole)
        if not whole:
            sys.exit(interrupted.status)

    def _best(self, outcome: Outcome) -> Path | None:
        if not self._settings.load_best_model_at_end or not outcome.at.best_step:
            return None
        return Path(self._settings.output_dir) / name_of(outcome.at.best_step)

    def _say(self, account: Account, outcome: Outcome, whole: bool) -> None:
        summary = RunFolder(Path(self._settings.output_dir)).summary
        try:
            written(summary, {"end": outcome.end.value, "whole": whole, **account.facts()})
        except OSError as exc:
            log.warning("%s cannot be written: %s", summary, exc.strerror)
        for line in told(account, self._settings, outcome.end.value, whole=whole):
            print(line, flush=True)


NOBODY = Several([])


def _precision(settings: TrainingSettings, kind: str, bfloat16: bool) -> Precision:
    precision, note = precision_for(
        fp16=settings.fp16, bf16=settings.bf16, kind=kind, bfloat16=bfloat16
    )
    if note:
        log.info("%s", note)
    return precision


def _student(
    settings: TrainingSettings, ranks: Ranks, begun: Begun, precision: Precision
) -> Student:
    if settings.gradient_checkpointing:
        recompute_layers(begun.learner)
    return Student(
        begun.learner,
        optimiser_for(begun.learner, settings),
        ranks.device,
        precision,
        casts=ranks.mesh is not None,
    )


def _trained(settings: TrainingSettings, method: Method, begun: Begun, student: Student) -> Trained:
    base = base_of(Path(settings.model_name_or_path), begun.learner.model, begun.tokenizer)
    return Trained(
        begun.learner,
        student.optimiser,
        write=lambda state, out: method.write(state, base, out),
        dtype=None if method.keeps_base else base.dtype,
    )
