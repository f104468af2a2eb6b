"""The whole program, from a command line to a model that is served."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from danlu.adapters.errors import StartError
from danlu.training.__main__ import train_as
from danlu.training.run.lines import read

pytestmark = pytest.mark.slow

LONG = 240.0  # seconds for a training on a busy two-core machine
PAIRS = [("丹炉是什么？", "丹炉是一个服务框架。"), ("谁写了你？", "一群炼丹的人。")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    records = [
        {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
        for q, a in PAIRS
    ]
    file = tmp_path / "data.json"
    file.write_text(json.dumps([*records, {"conversations": []}], ensure_ascii=False))
    return file


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"DANLU_CACHE": str(tmp_path / "cache")}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The program configures logging for a process of its own."""
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def _flags(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    needed = ["--model_name_or_path", str(model), "--data_path", str(data)]
    return [*needed, "--output_dir", str(out), "--device", "cpu", *more]


def _losses(out: Path) -> list[Any]:
    return [line["loss"] for line in read(out / "run/log.jsonl", 10**9) if line["kind"] == "step"]


def test_a_run_leaves_what_it_was_and_what_it_made(
    chatglm2_dir: Path,
    data: Path,
    tmp_path: Path,
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    flags = shlex.split(
        "--lora_r 4 --num_train_epochs 4 --logging_steps 2 --save_strategy no --seed 1"
    )
    evaluation = ["--eval_data_path", str(data), "--eval_strategy", "epoch"]
    argv = _flags(chatglm2_dir, data, out, *flags, *evaluation)
    train_as(argv, environ)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line[:8] for line in lines[:6]] == ["{'eval_l", "{'loss':", "{'eval_l"] * 2
    assert lines[-3] == f"the adapter is in {out}"
    assert f"--adapters out={out}" in lines[-1]
    assert "--lora_r asks for --method lora" in said.err
    assert "2 of 3 records make 2 samples" in said.err
    assert {path.name for path in (out / "run").glob("[!.]*")} == {
        *("settings.json", "environment.json", "log.jsonl", "curves.png", "summary.json"),
        *("bad-records.jsonl", "bad-evaluation-records.jsonl"),
    }
    assert (out / "adapter_model.safetensors").is_file()
    losses = _losses(out)
    assert len(losses) == 4 and losses[-1] < losses[0]
    summary = json.loads((out / "run/summary.json").read_text())
    assert (summary["step"], summary["whole"]) == (4, True)

    with pytest.raises(StartError, match="holds an earlier run"):
        train_as(argv, environ)
    train_as([*argv, "--overwrite_output_dir"], environ)
    assert _losses(out) == losses


def test_a_run_that_is_told_to_end_goes_on_to_the_same_curve(
    chatglm2_dir: Path, data: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    """The second time in this process; the first one must be a process to get a signal."""
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    more = shlex.split(
        "--max_steps 24 --logging_steps 1 --save_strategy no --gradient_checkpointing"
    )
    argv = _flags(chatglm2_dir, data, halved, *more)
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "danlu.training", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("{'loss':")
        process.send_signal(signal.SIGTERM)
        shown, said = process.communicate(timeout=LONG)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "the same command goes on from its last checkpoint" in shown
    assert len(_losses(halved)) < 24
    train_as(argv, environ)
    train_as(_flags(chatglm2_dir, data, whole, *more), environ)
    assert _losses(halved) == _losses(whole)
    assert (halved / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model_name_or_path", "missing"], "'missing' does not exist"),
        (["--data_path", "missing.json"], "--data_path missing.json is no file"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_what_is_not_there_is_one_sentence_before_anything_is_made(
    flags: list[str],
    sentence: str,
    chatglm2_dir: Path,
    data: Path,
    tmp_path: Path,
    environ: dict[str, str],
) -> None:
    out = tmp_path / "out"
    with pytest.raises(StartError) as caught:
        train_as(_flags(chatglm2_dir, data, out, *flags), environ)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_only_the_first_process_says_what_is_wrong_with_a_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        train_as(["--fp16"], {"RANK": "1", "WORLD_SIZE": "2"})
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "")
