"""TensorBoard's files, where its package is there; a sentence where it is not."""

from pathlib import Path
from typing import Any

import pytest
from support.training import a_step, an_evaluation

from danlu.training.progress import Progress
from danlu.training.run.board import Board, writer


def test_the_curves_are_in_its_files(tmp_path: Path) -> None:
    reading: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = Board(writer(tmp_path))
    board.begun(Progress(), 10)
    board.measured(a_step(1, 2.5))
    board.measured(a_step(2, 2.25))
    board.evaluated(an_evaluation(2, 2.125))
    board.close()
    found = reading.EventAccumulator(str(tmp_path)).Reload()
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert losses == [(1, 2.5), (2, 2.25)]
    assert [event.value for event in found.Scalars("eval/loss")] == [2.125]
    assert [event.value for event in found.Scalars("train/tokens_per_second")] == [200, 200]
