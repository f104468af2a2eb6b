"""What a training reads, and what it says of it."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from support.glm import save_glm

from danlu.training.parallel.launch import Place, Ranks
from danlu.training.settings import TrainingSettings
from danlu.training.supply import BAD_EVALUATION, supply

pytestmark = pytest.mark.slow

T = TypeVar("T")


class Noting(Ranks):
    """One process that keeps what it would send to others."""

    def __init__(self) -> None:
        super().__init__(Place(), torch.device("cpu"), None)
        self.sent: list[object] = []

    def told(self, value: T) -> T:
        self.sent.append(value)
        return value


@pytest.fixture
def settings(tmp_path: Path) -> TrainingSettings:
    save_glm(tmp_path / "model")
    good, bad = {"prompt": "q", "response": "a"}, {"prompt": "q"}
    for name, records in {"data": [good] * 3, "evaluation": [good, bad]}.items():
        (tmp_path / name).write_text(json.dumps(records))
    return TrainingSettings(
        model_name_or_path=str(tmp_path / "model"), data_path=(str(tmp_path / "data"),)
    )


def test_samples_are_found_in_files_and_not_sent(
    settings: TrainingSettings, tmp_path: Path
) -> None:
    ranks = Noting()
    found = supply(settings, ranks, tmp_path / "cache")
    assert len(found.samples) == 3 and found.evaluation is None
    assert ranks.sent == [(None, None)]


def test_bad_records_are_told_of_the_evaluation_too(
    settings: TrainingSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wish = replace(settings, eval_data_path=(str(tmp_path / "evaluation"),), eval_strategy="epoch")
    with caplog.at_level(logging.INFO, "danlu.training"):
        found = supply(wish, Noting(), tmp_path / "cache")
    assert found.evaluation is not None and len(found.evaluation) == 1
    assert "evaluation: 1 of 2 records make 1 samples" in caplog.text
    assert "evaluation: bad records: 1" in caplog.text
    written = found.reports[BAD_EVALUATION].write(tmp_path, BAD_EVALUATION)
    assert written is not None and written.name == BAD_EVALUATION
    assert json.loads(written.read_text())["record"] == 2
