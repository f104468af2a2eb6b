"""Samples are made once of the same files, lie in files, and are the same for every process."""

import json
import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.glm import glm_tokenizer

from danlu.adapters.errors import StartError
from danlu.training.data.keeping import MOST
from danlu.training.data.store import Tokenised, samples_of
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

START = 10**9  # a time long ago, in seconds
ASKED = {"instruction": "你好", "output": "你好！"}
TALK = {
    "conversations": [
        {"from": "human", "value": "people"},
        {"from": "gpt", "value": "and philosophy"},
        {"from": "human", "value": "训练时间"},
        {"from": "gpt", "value": "2023年。"},
    ]
}


@dataclass
class Place:
    """A folder with a file of records and a cache; `said` is what was said of the making."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def samples(self, records: Sequence[Any], name: str = "data.jsonl", **how: Any) -> Tokenised:
        file = self.folder / name
        file.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
        return self.again(name, **how)

    def again(self, name: str = "data.jsonl", **how: Any) -> Tokenised:
        return samples_of(
            TrainingSettings(**how),
            glm_tokenizer(),
            [str(self.folder / name)],
            root=self.folder / "cache",
            say=self.said.append,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_dialogue_of_chatglm2_becomes_a_sample_for_each_answer(place: Place) -> None:
    samples = place.samples([TALK]).samples
    decode = glm_tokenizer().decode
    assert [decode(s.ids[~s.trained].tolist()) for s in (samples[0], samples[1])] == [
        "[Round 1]\n\n问：people\n\n答：",
        "[Round 1]\n\n问：people\n\n答：and philosophy\n\n[Round 2]\n\n问：训练时间\n\n答：",
    ]
    assert [decode(s.ids[s.trained].tolist()) for s in (samples[0], samples[1])] == [
        "and philosophy",
        "2023年。",
    ]


def test_samples_in_files_are_those_in_memory(place: Place) -> None:
    stored = place.samples([ASKED, TALK]).samples
    listed = Listed([stored[i] for i in range(len(stored))])
    assert len(stored) == 3
    assert stored.digest == listed.digest
    assert stored.lengths.tolist() == listed.lengths.tolist()
    assert stored.lengths.dtype == np.int64
    assert stored.records.tolist() == [0, 1, 1]


def test_a_sample_is_found_from_either_end_and_none_beyond(place: Place) -> None:
    stored = place.samples([ASKED, TALK]).samples
    assert stored[-1].ids.tolist() == stored[2].ids.tolist()
    with pytest.raises(IndexError):
        stored[3]


def test_what_was_taken_can_be_written_into_without_harm(place: Place) -> None:
    stored = place.samples([ASKED]).samples
    taken = stored[0].ids
    taken[:] = 0
    assert stored[0].ids.any()


def test_the_same_files_are_tokenised_once(place: Place) -> None:
    first = place.samples([ASKED, "bad"])
    made = len(place.said)
    again = place.again()
    assert len(place.said) == made
    assert again.samples.digest == first.samples.digest
    assert again.report.lines == first.report.lines


@pytest.mark.parametrize("change", [{"model_max_length": 30}, {"answers": "last"}])
def test_another_setting_makes_other_samples(place: Place, change: dict[str, Any]) -> None:
    first = place.samples([TALK]).samples
    other = place.again(**change).samples
    assert other.digest != first.digest
    assert place.again().samples.digest == first.digest


def test_changed_content_makes_other_samples(place: Place) -> None:
    first = place.samples([TALK]).samples
    assert place.samples([ASKED]).samples.digest != first.digest


def test_no_good_record_is_told_with_the_faults(place: Place) -> None:
    with pytest.raises(StartError, match=r"no record of .*data.jsonl can be .*a list; a record"):
        place.samples([[], []])
    assert list((place.folder / "cache").glob("samples-*")) == []


def test_a_missing_file_is_told(place: Place) -> None:
    with pytest.raises(StartError, match=r"none.jsonl cannot be read: No such file"):
        place.again("none.jsonl")


def test_a_cache_without_room_is_told(place: Place) -> None:
    long = {"instruction": "你好", "output": "你好！" * 300}
    (place.folder / "longer.jsonl").write_text(json.dumps(long), encoding="utf-8")
    place.samples([ASKED])
    with no_file_larger(1000), pytest.raises(StartError, match=r"cannot be written below .*cache"):
        place.again("longer.jsonl")
    assert len(list((place.folder / "cache").glob("samples-*"))) == 1


@contextmanager
def no_file_larger(size: int) -> Iterator[None]:
    """As on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_samples_of_long_ago_make_room_for_new_ones_but_not_those_in_use(place: Place) -> None:
    cache = place.folder / "cache"
    used = place.samples([ASKED])
    for name, age in (("old", 2), ("new", 1)):
        left = cache / f"samples-{name}"
        left.mkdir()
        with (left / "ids").open("wb") as file:
            file.truncate(MOST - 10_000)  # of zeros, which take no room
        os.utime(left, (START - age, START - age))
    (kept_for_use,) = {path.name for path in cache.glob("samples-*")} - {
        "samples-old",
        "samples-new",
    }
    os.utime(cache / kept_for_use, (0, 0))
    place.samples([TALK], "other.jsonl")
    there = {path.name for path in cache.glob("samples-*")}
    assert "samples-old" not in there and {"samples-new", kept_for_use} < there
    assert any("samples-old, which was not used for long" in line for line in place.said)
    assert len(used.samples) == 1


def test_samples_that_vanish_before_they_are_held_are_made_once_more(place: Place) -> None:
    place.samples([ASKED])

    def losing(line: str) -> None:
        place.said.append(line)
        if line.startswith("samples-") and len(place.said) == 2:
            shutil.rmtree(line.rpartition(" is in ")[2])

    shutil.rmtree(place.folder / "cache")
    made = samples_of(
        TrainingSettings(),
        glm_tokenizer(),
        [str(place.folder / "data.jsonl")],
        root=place.folder / "cache",
        say=losing,
    )
    assert len(made.samples) == 1
    assert any("was deleted in the meantime" in line for line in place.said)
