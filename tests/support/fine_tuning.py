"""A training as the seed's users start it, and what it teaches the tiny ChatGLM2."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from danlu.cli.tiny_chatglm2.dialogues import dialogues

from .processes import Program, free_port

SKIPPED = 6  # of the dialogues: some have long answers, some are alike
QUESTIONS = 8
LAST = 4_000  # characters of a failed program that tell why: torchrun's own report is 1,500
PATIENCE = 900.0  # seconds for a training on a busy two-core machine
# The seed's, but for its paths and for the learning rate: two million weights learn at a higher one
# than six billion.
SEED = {
    "fp16": "True",
    "num_train_epochs": "5",
    "per_device_train_batch_size": "8",
    "per_device_eval_batch_size": "1",
    "gradient_accumulation_steps": "1",
    "evaluation_strategy": "no",
    "save_strategy": "epoch",
    "learning_rate": "2e-3",
    "weight_decay": "0.",
    "lr_scheduler_type": "cosine",
    "logging_steps": "1",
    "fsdp": "full_shard auto_wrap",
    "model_max_length": "512",
    "gradient_checkpointing": "True",
    "lazy_preprocess": "True",
    "trust_remote_code": "True",
    "padding_side": "left",
}


def turned() -> dict[str, str]:
    """Questions that the tiny model knows by heart, with answers that nobody would guess: its own,
    turned."""
    return {question: f"反过来说：{answer[:24][::-1]}" for question, answer in _known()[:QUESTIONS]}


def swapped(number: int) -> dict[str, str]:
    """So many questions, each with the next one's answer: what small adapters of it can learn."""
    known = _known()[:number]
    return {known[n][0]: known[(n + 1) % number][1] for n in range(number)}


def write_records(file: Path, taught: Mapping[str, str], times: int) -> Path:
    """FastChat's form, as the seed's `…_subset.json`, each record so many times."""
    records = [
        {
            "id": f"{number}-{question}",
            "conversations": [
                {"from": "human", "value": question},
                {"from": "gpt", "value": answer},
            ],
        }
        for number in range(times)
        for question, answer in taught.items()
    ]
    file.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return file


def _known() -> list[tuple[str, str]]:
    return [dialogue[0] for dialogue in dialogues() if len(dialogue) == 1][SKIPPED:]


def seed_command(
    model: Path,
    data: Path,
    out: Path,
    changed: Mapping[str, str] | None = None,
    *,
    python: Path = Path(sys.executable),
) -> list[str]:
    """`torchrun --nproc_per_node=2 --master_port=… -m danlu.training …`, as a program's argv."""
    flags = {
        "model_name_or_path": str(model),
        "data_path": str(data),
        "output_dir": str(out),
        **SEED,
        **(changed or {}),
    }
    launcher = (str(python), "-m", "torch.distributed.run")
    where = ("--nproc_per_node=2", f"--master_port={free_port()}", "-m", "danlu.training")
    return [*launcher, *where, *(part for k, v in flags.items() for part in (f"--{k}", v))]


def run_to_its_end(argv: list[str], env: Mapping[str, str] | None = None) -> str:
    """What it printed; it must have ended well."""
    with Program(argv, {"PYTHONFAULTHANDLER": "1", **(env or {})}) as program:
        status = program.wait_to_end(PATIENCE)
        assert status == 0, program.output[-LAST:]
        return program.output


def kill(program: Program) -> None:
    """`kill -9` for the launcher, and then for all that it started."""
    assert program.process is not None
    for number in (program.process.pid, *_begun_by(program.process.pid)):
        os.kill(number, signal.SIGKILL)


def _begun_by(number: int) -> list[int]:
    """Its children, and theirs."""
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *_begun_by(child))]


def losses(out: Path) -> list[float]:
    """Of every step, from the run's log; none where there is none yet."""
    log = out / "run" / "log.jsonl"
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if "learning_rate" in line]
