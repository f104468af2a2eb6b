"""Our training through its own parts: padded by batch, packed, padded to the full, or in two
processes that share the weights.

The first of two starts the other; RANK and so on say which this one is, as torchrun does.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from danlu.training.course.loop import Course as Going, train
from danlu.training.course.optimiser import optimiser_for
from danlu.training.course.precision import Precision
from danlu.training.course.student import Student
from danlu.training.learner import recompute_layers, reshard
from danlu.training.methods.choice import method_for
from danlu.training.parallel.launch import joined
from danlu.training.parallel.loading import begin
from danlu.training.progress import Evaluated, Measured, Progress
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

from ..lines import resident
from ..passes import Passed
from .learning import Beginning, Conditions, bound, conditions, judged, learned, others, serve

END = 30.0  # seconds that the second process gets to end


class Silent:
    """Hears what happens and keeps it to itself; nothing is saved."""

    def begun(self, at: Progress, steps: int) -> None: ...

    def measured(self, what: Measured) -> None: ...

    def evaluated(self, what: Evaluated) -> None: ...

    def saved(self, checkpoint: Path) -> None: ...

    def save(self, at: Progress) -> Path:
        raise AssertionError("nothing is to be saved")


class Course:
    """One process' part of it; `run` is called in the first, `follow` in the others."""

    def __init__(self, asked: Conditions, environ: Mapping[str, str]) -> None:
        bound(asked)
        self._asked, self._others = asked, others(asked)
        self._mate = _mate(environ)
        with ExitStack() as ending:
            self._ranks = ending.enter_context(joined(environ, asked.settings()))
            settings = self._settings = settings_for(asked, self._ranks.count)
            self._learner = begin(settings, self._ranks, method_for(settings), Precision()).learner
            recompute_layers(self._learner)
            self._beginning = Beginning(self._learner)
            self._ranks.wait()
            self._ending = ending.pop_all()
        self._loaded = self.peak()

    def run(self, count: int, seed: int) -> Passed:
        self._ranks.told((count, seed))
        return self._run(count, seed)

    def follow(self) -> None:
        """Do what the first one does, until that closes."""
        while (told := self._ranks.told(None)) is not None:
            self._run(*told)

    def _run(self, count: int, seed: int) -> Passed:
        samples = self._asked.samples(count, seed)
        reshard(self._learner)
        self._beginning.again()
        student = Student(
            self._learner,
            optimiser_for(self._learner, self._settings),
            self._ranks.device,
            casts=self._ranks.mesh is not None,
        )
        going = self._going(student, samples)
        begun, busy = time.perf_counter(), time.process_time()
        at = train(going, Progress()).at
        seconds, busy = time.perf_counter() - begun, time.process_time() - busy
        (busy,) = self._ranks.total(busy)
        loss = judged(student, self._others, self._ranks)
        assert (at.tokens, at.trained) == (samples.lengths.sum(), learned(samples))
        return Passed(at.step, at.tokens, at.trained, seconds, busy, loss, self._loaded)

    def _going(self, student: Student, samples: Listed) -> Going:
        silent = Silent()
        multiple = self._asked.longest if self._asked.kind == "max" else 1
        return Going(
            self._settings, student, samples, self._ranks, silent, silent, multiple=multiple
        )

    def peak(self) -> int:
        return resident() + (resident(self._mate.pid) if self._mate else 0)

    def close(self) -> None:
        if self._mate is not None:
            self._ranks.told(None)
        self._ending.close()
        if self._mate is not None:
            self._mate.wait(END)


def settings_for(asked: Conditions, processes: int) -> TrainingSettings:
    """As many samples a step whatever the kind: a packed row has several, a process its share."""
    if asked.kind == "packed":
        return asked.settings(
            packing=True, per_device_train_batch_size=packed_rows(asked), save_strategy="no"
        )
    share = asked.batch // processes
    return asked.settings(
        per_device_train_batch_size=share,
        group_by_length=asked.kind != "max",
        fsdp="full_shard auto_wrap" if asked.kind == "x2" else "",
        save_strategy="no",
    )


def packed_rows(asked: Conditions) -> int:
    """Rows that hold about as many samples as a step has unpacked."""
    lengths = asked.samples(SEVERAL, 0).lengths
    return max(1, round(asked.batch * float(lengths.mean()) / asked.longest))


SEVERAL = 1000  # samples whose mean length is known well enough


def _mate(environ: Mapping[str, str]) -> "subprocess.Popen[bytes] | None":
    """The second process, where this is the first of two."""
    if environ.get("RANK") != "0":
        return None
    argv = [sys.executable, "-m", "benchmarks.contenders.course", *sys.argv[1:]]
    env = {**environ, "RANK": "1", "LOCAL_RANK": "1"}
    return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    if os.environ.get("RANK") == "1":
        second = Course(conditions(), os.environ)
        second.follow()
        second.close()
    else:
        serve(lambda: Course(conditions(), os.environ))
