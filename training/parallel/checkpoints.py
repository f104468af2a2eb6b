"""Writes checkpoints, whole or not at all, and at the end the model itself.

    output_dir/
    ├── config.json, model.safetensors …   at the end: what `danlu worker` serves
    └── checkpoint-100/
        ├── config.json, model.safetensors …   the same, as it was after 100 steps
        └── training/                          what a training goes on from

Several machines need a folder that all of them see.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...adapters.errors import StartError
from ..learner import Learner, reshard, trained_parameters
from ..progress import Progress
from .folders import (
    PROGRESS,
    STATE,
    checkpoints,
    hidden,
    is_whole,
    name_of,
    outdated,
    put,
    remove,
    step_of,
)
from .gathering import gathered
from .launch import Ranks
from .resuming import Facts
from .states import save_state

log = logging.getLogger(__name__)

Write = Callable[[Mapping[str, Tensor], Path], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What is kept: the learner, its optimiser, and how the first process writes what is served.

    `write` gets what is trained by name, whole, on the host and in `dtype` (float32 by default),
    and a directory that is not there yet.
    """

    learner: Learner
    optimiser: Optimizer
    write: Write
    dtype: torch.dtype | None = None


class Checkpoints:
    """The `Keeper` of the run in the folder `run`. `limit` are kept, 0 for all; the best one is
    never deleted where `keep_best`."""

    def __init__(
        self,
        run: Path,
        trained: Trained,
        ranks: Ranks,
        facts: Facts,
        *,
        limit: int = 0,
        keep_best: bool = False,
    ) -> None:
        self._run = run
        self._trained = trained
        self._ranks = ranks
        self._facts = facts
        self._limit = limit
        self._keep_best = keep_best
        self._latest: Path | None = None

    def save(self, at: Progress) -> Path:
        """The checkpoint's directory, where it is already if this step was saved.

        Raises StartError in every process if it cannot be written; earlier ones are as they were.
        """
        made = self._run / name_of(at.step)
        if made == self._latest:
            return made
        making = hidden(made, "making")
        try:
            self._write_served(making)
            save_state(making / STATE, self._trained.learner, self._trained.optimiser, self._ranks)
            self._ranks.by_first(lambda: self._finish(made, making, at))
        except BaseException:
            if self._ranks.first:
                shutil.rmtree(making, ignore_errors=True)
            raise
        self._latest = made
        return made

    def publish(self, at: Progress, best: Path | None = None) -> Path:
        """Put the model, as it is or as it was in the checkpoint `best`, into the run's folder.

        Raises StartError in every process if that cannot be written.
        """
        making = hidden(self._run / "final", "making")
        saved = self._latest if self._latest == self._run / name_of(at.step) else None
        source = best or saved
        if source is None:
            self._write_served(making)
        self._ranks.by_first(lambda: self._put(source, making))
        return self._run

    def _write_served(self, out: Path) -> None:
        reshard(self._trained.learner)
        weights = trained_parameters(self._trained.learner)
        state = gathered(weights, self._ranks, self._trained.dtype)
        self._ranks.by_first(lambda: self._write(state, out))

    def _write(self, state: Mapping[str, Tensor], out: Path) -> None:
        with _written(out):
            shutil.rmtree(out, ignore_errors=True)
            self._trained.write(state, out)

    def _finish(self, made: Path, making: Path, at: Progress) -> None:
        with _written(made):
            content = {"progress": asdict(at), **asdict(self._facts)}
            text = json.dumps(content, indent=2) + "\n"
            (making / STATE / PROGRESS).write_text(text, encoding="utf-8")
            if made.exists():
                remove(made)
            making.rename(made)
        log.info("checkpoint saved path=%s", made)
        self._delete_outdated(at)

    def _delete_outdated(self, at: Progress) -> None:
        steps = [step_of(path) for path in checkpoints(self._run) if step_of(path) <= at.step]
        best = at.best_step if self._keep_best else None
        for step in outdated(steps, self._limit, best):
            try:
                remove(self._run / name_of(step))
            except OSError as exc:  # it costs room, and nothing else
                log.warning("%s cannot be deleted: %s", name_of(step), exc)

    def _put(self, source: Path | None, making: Path) -> None:
        with _written(self._run):
            if source is not None:
                assert is_whole(source)
                shutil.rmtree(making, ignore_errors=True)
                shutil.copytree(source, making, ignore=shutil.ignore_patterns(STATE))
            put(making, self._run)


@contextmanager
def _written(out: Path) -> Iterator[None]:
    """Whatever goes wrong, whoever wrote: a full disk has many names."""
    try:
        yield
    except StartError:
        raise
    except Exception as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise StartError(f"{out} cannot be written: {reason}") from exc
