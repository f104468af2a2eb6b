"""The run's log: a line for all that happens, whole at once, and cut where a training goes on."""

import json
from pathlib import Path

from hypothesis import given, settings, strategies as st
from support.training import a_step, an_evaluation

from danlu.training.progress import Progress
from danlu.training.run import lines
from danlu.training.run.log import Log


def _begun(path: Path, step: int = 0) -> Log:
    log = Log(path)
    log.begun(Progress(step=step), 10)
    return log


def test_every_event_is_in_the_file_when_its_call_is_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = _begun(path)
    log.measured(a_step(1, 2.5))
    assert json.loads(path.read_text())["loss"] == 2.5
    log.evaluated(an_evaluation(1, 2.25))
    log.saved(tmp_path / "checkpoint-1")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in told] == ["step", "evaluation", "checkpoint"]
    assert told[2] == {"kind": "checkpoint", "step": 1, "directory": "checkpoint-1"}


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _begun(path).measured(a_step(1, float("nan"), skipped=True))
    assert json.loads(path.read_text(), parse_constant=lambda _: 1 / 0)["loss"] is None


def test_a_training_that_goes_on_cuts_what_its_checkpoint_does_not_know(tmp_path: Path) -> None:
    path, whole = tmp_path / "log.jsonl", tmp_path / "whole.jsonl"
    uninterrupted = _begun(whole)
    killed = _begun(path)
    for step in range(1, 6):
        killed.measured(a_step(step, 3 - step / 10))
        uninterrupted.measured(a_step(step, 3 - step / 10))
    with path.open("a") as file:
        file.write('{"kind": "step", "ste')  # killed while it wrote
    for step in range(6, 8):
        uninterrupted.measured(a_step(step, 3 - step / 10))
    resumed = _begun(path, 3)
    for step in range(4, 8):
        resumed.measured(a_step(step, 3 - step / 10))
    assert path.read_text() == whole.read_text()


def test_a_training_that_begins_anew_begins_its_log_anew(tmp_path: Path) -> None:
    _begun(tmp_path / "log.jsonl").measured(a_step(1))
    _begun(tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_text() == ""


@settings(deadline=None)
@given(st.lists(st.integers(1, 20)), st.integers(0, 20), st.data())
def test_no_cut_of_the_file_loses_a_whole_line_or_invents_one(
    steps: list[int], until: int, data: st.DataObject
) -> None:
    told = [lines.of_step(a_step(step, steps=20)) for step in steps]
    text = "".join(map(lines.told, told))
    cut = text[: data.draw(st.integers(0, len(text)))]
    whole = cut.count("\n") + (cut.endswith("}"))
    kept = [line for line in told[:whole] if line["step"] <= until]
    assert list(lines.until(cut.splitlines(), until)) == kept
