"""What would be trained is shown before it is."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from support.glm import glm_tokenizer
from support.tiny import byte_level_tokenizer

from danlu.adapters.errors import StartError
from danlu.training.data.inspecting import BAR, BINS, histogram, inspect, inspected, shown
from danlu.training.data.store import samples_of
from danlu.training.sample import Sample
from danlu.training.settings import TrainingSettings

RECORDS = [{"instruction": "你好", "output": "早上好"}, {"instruction": "fire"}]


def console(*, coloured: bool) -> Console:
    return Console(
        file=StringIO(),
        width=90,
        force_terminal=coloured,
        color_system="standard" if coloured else None,
    )


def text_on(where: Console) -> str:
    assert isinstance(where.file, StringIO)
    return where.file.getvalue()


def seen(tokenizer: Any, tmp_path: Path, *, coloured: bool = False, show: int = 3) -> str:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(RECORDS), encoding="utf-8")
    made = samples_of(TrainingSettings(), tokenizer, [str(file)], root=tmp_path, say=print)
    where = console(coloured=coloured)
    inspect(tokenizer, made, where, show=show)
    return text_on(where)


def test_a_sample_is_shown_with_its_special_tokens_and_what_is_learned(tmp_path: Path) -> None:
    text = seen(glm_tokenizer(), tmp_path)
    assert "[gMASK]sop[Round 1]\n\n问：你好\n\n答：⟦早上好</s>⟧" in text
    assert "1 of 2 records make 1 samples" in text
    assert "data.json:1 (record 2): no known form" in text


def test_another_models_sample_is_shown_as_its_template_writes_it(tmp_path: Path) -> None:
    text = seen(byte_level_tokenizer(), tmp_path)
    assert "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n⟦早上好<|im_end|>⟧" in text


def test_in_colour_there_are_no_brackets(tmp_path: Path) -> None:
    text = seen(glm_tokenizer(), tmp_path, coloured=True)
    assert "\x1b[1;32m早上好</s>\x1b[0m" in text
    assert "⟦" not in text


def test_no_more_samples_are_shown_than_wanted(tmp_path: Path) -> None:
    assert "sample 1" not in seen(glm_tokenizer(), tmp_path, show=0)


def test_nothing_in_a_sample_commands_the_terminal() -> None:
    tokenizer = byte_level_tokenizer()
    ids = np.array(tokenizer.encode("a\x1b[31mb\x07\x9bc\x7f"), np.int32)
    text = shown(tokenizer, Sample(ids, np.zeros(len(ids), np.bool_)), marked=True)
    assert text.plain == "a␛[31mb␇\ufffdc␡"


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=200))
def test_a_histogram_has_every_sample_in_one_of_its_rows(lengths: list[int]) -> None:
    rows = [row.split() for row in histogram(np.array(lengths, np.int64))]
    assert 1 <= len(rows) <= BINS
    for first, _, last, count, *_ in rows:
        assert int(count) == sum(int(first) <= length <= int(last) for length in lengths)
    assert sum(int(row[3]) for row in rows) == len(lengths)
    assert max(len(row[4]) for row in rows if len(row) > 4) == BAR


@pytest.mark.slow
def test_a_model_directory_and_files_are_enough(chatglm2_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(RECORDS[:1] * 10), encoding="utf-8")
    settings = TrainingSettings(
        model_name_or_path=str(chatglm2_dir), data_path=(str(file),), eval_share=0.2
    )
    where = console(coloured=False)
    inspected(settings, where)
    assert "10 of 10 records make 10 samples" in text_on(where)
    assert "8 samples are trained, 2 kept for evaluation" in text_on(where)


def test_a_directory_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no model directory"):
        inspected(TrainingSettings(model_name_or_path=str(tmp_path)), console(coloured=False))
