"""Contenders in training on a tiny model, the samples they learn from, and the tables of it all."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from benchmarks.contenders.course import packed_rows, settings_for
from benchmarks.contenders.learning import Conditions, conditions, learned
from benchmarks.contest import Standing
from benchmarks.conversations import conversations
from benchmarks.models import END, chatglm2, saved
from benchmarks.passes import Passed, Trained, ratios, speeds, told_of
from benchmarks.referee import Process
from benchmarks.training import started

WORDS, LONGEST, BATCH = 90, 64, 4
COUNT = 10  # samples of a pass: the last step is not whole


@given(st.integers(1, 20), st.integers(0, 9), st.integers(8, 300))
@settings(max_examples=30, deadline=None)
def test_a_sample_ends_with_a_learned_answer_and_is_never_too_long(
    count: int, seed: int, longest: int
) -> None:
    found = conversations(count, seed, words=WORDS, longest=longest)
    assert len(found) == count
    for sample in found:
        assert len(sample.ids) == len(sample.trained) <= longest
        assert sample.ids[-1] == END and sample.trained[-1]
        assert not sample.trained[0]
        assert ((sample.ids >= END) & (sample.ids < WORDS)).all()


def test_samples_are_the_same_for_everybody_and_others_in_each_round() -> None:
    first, again, second = (conversations(50, seed, words=WORDS, longest=512) for seed in (0, 0, 1))
    texts = [[sample.ids.tobytes() for sample in found] for found in (first, again, second)]
    assert texts[0] == texts[1] != texts[2]


def test_samples_are_as_long_as_written_instructions() -> None:
    lengths = [len(one.ids) for one in conversations(2000, 0, words=WORDS, longest=512)]
    assert sorted(lengths)[1000] == pytest.approx(200, rel=0.1)
    assert 0.02 < lengths.count(512) / 2000 < 0.1


def asked(kind: str, model: Path = Path("model")) -> Conditions:
    return Conditions(kind, model, threads=1, batch=BATCH, longest=LONGEST)


def test_a_contenders_command_line_says_its_conditions() -> None:
    assert conditions(asked("packed").flags()) == asked("packed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = chatglm2(128, 96, 2, WORDS, torch.float32)
    return saved(tiny, tmp_path_factory.mktemp("glm") / "tiny")


def test_a_step_has_as_many_samples_however_it_is_divided(model: Path) -> None:
    assert settings_for(asked("dynamic", model), 1).per_device_train_batch_size == BATCH
    two = settings_for(asked("x2", model), 2)
    assert (two.per_device_train_batch_size, two.fsdp) == (BATCH // 2, "full_shard auto_wrap")
    packed = settings_for(asked("packed", model), 1)
    assert packed.packing and packed.per_device_train_batch_size == packed_rows(asked("x", model))
    assert not settings_for(asked("max", model), 1).group_by_length


@pytest.mark.slow
def test_all_contenders_learn_the_same_from_a_pass_each_time(model: Path) -> None:
    names = ["danlu", "danlu:max", "danlu:packed", "danlu:x2", "trainer:dynamic", "trainer:max"]
    processes = [started(name, asked("dynamic", model)) for name in names]
    try:
        assert all(process.wait_until_ready() for process in processes)
        found = {p.standing.name: [_passed(p), _passed(p)] for p in processes}
    finally:
        for process in processes:
            process.close()
    samples = asked("dynamic", model).samples(COUNT, 0)
    for name, (first, second) in found.items():
        assert first.loss == pytest.approx(second.loss, rel=1e-6), name
        assert first.tokens == samples.lengths.sum()
        assert first.trained == learned(samples)
        assert first.steps == 3 or name == "danlu:packed"
        assert first.loaded > 0
        assert first.busy > 0
        assert first.loss == pytest.approx(found["danlu"][0].loss, rel=0.01), name
    assert found["danlu:x2"][0].loss == pytest.approx(found["danlu"][0].loss, rel=1e-3)


def _passed(process: Process) -> Passed:
    heard = process.ask({"count": COUNT, "seed": 0})
    assert heard is not None, process.standing.missing
    return Passed(**heard)


def trained(name: str, *seconds: float, missing: str = "") -> Trained:
    """100 tokens a pass, half of them learned, the processor busy half of the time."""
    passes = [Passed(2, 100, 50, each, each / 2, 1.5, 2**29) for each in seconds]
    return Trained(Standing(name, missing, peak=2**30), passes)


def test_speeds_are_of_real_tokens_and_ratios_of_the_same_round() -> None:
    found = {
        "danlu": trained("danlu", 1.0, 2.0, 4.0),
        "trainer:max": trained("trainer:max", 4.0, 4.0, 4.0),
        "danlu:x2": trained("danlu:x2", missing="no second core"),
    }
    rows = speeds(found)
    assert "| danlu | 50 (25 – 100) | 25 | 2 | 1.5000 | 0.50 | 1.00 | yes |" in rows
    assert any(row.startswith("| danlu:x2 | – ") and "no second core" in row for row in rows)
    pairs = ratios(found)[2:-1]
    assert pairs == ["| danlu / trainer:max | 2.00 (1.00 – 4.00) | 2.00 (1.00 – 4.00) |"]


def test_the_page_says_how_much_of_full_rows_is_padding() -> None:
    said = told_of([100, 300, 200], 400)
    assert "100 to 300 tokens, in the median 200" in said and "50%" in said
