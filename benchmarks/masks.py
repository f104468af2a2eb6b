"""How much of ChatGLM2's data is trained: by stock FastChat's train.py, and here.

    python -m benchmarks.masks [--data FILE] [--tokenizer FILE] [--longest 512,256]

The data is a JSON list in FastChat's form; without one, the dialogues that the tiny ChatGLM2 knows.
FastChat's own `preprocess` runs in `.venv-fschat`, with its `--padding_side` left and right. It
stops at a second question, for want of a `tokenizer.legacy`, and runs again as if there was one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from danlu.adapters.cache import cache_root
from danlu.adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from danlu.cli.demo_chatglm2 import chatglm2_model
from danlu.cli.tiny_chatglm2.dialogues import dialogues
from danlu.training.data.store import samples_of
from danlu.training.settings import TrainingSettings

from .report import table

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-fschat" / "bin" / "python"
THEIRS = "benchmarks.contenders.fastchat_masks"
HEAD = ("tokens at most", "by", "records", "trained samples", "tokens", "trained", "end tokens")
PADDED = ("left", "right")


@dataclass(frozen=True, slots=True)
class Trained:
    """What is made of the `records`: `samples` that train something, and their tokens.

    `ends` are trained end tokens; `stopped` is how many records end the program, and why.
    """

    records: int
    samples: int = 0
    tokens: int = 0
    trained: int = 0
    ends: int = 0
    stopped: str = ""

    @property
    def cells(self) -> list[str]:
        facts = (self.records, self.samples, self.tokens, self.trained, self.ends)
        return [f"{fact:,}" for fact in facts]


@dataclass(frozen=True, slots=True)
class Asked:
    """How FastChat's code is run. With `legacy` its tokenizer has what only LLaMA's have."""

    tokenizer: str
    data: str
    longest: int
    padding_side: str = "left"
    legacy: bool = False

    @property
    def name(self) -> str:
        return f"FastChat, padded {self.padding_side}" + (", with `legacy`" if self.legacy else "")


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or known(Path(folder) / "dialogues.json")
        asked = [
            Asked(str(args.tokenizer), str(data), longest, side, legacy)
            for longest in args.longest
            for side in PADDED
            for legacy in (False, True)
        ]
        rows = [_row(each, found) for each, found in zip(asked, theirs(asked), strict=True)]
        for longest in args.longest:
            found = ours(args.tokenizer, data, longest)
            rows.append([str(longest), "danlu", *found.cells])
    print("\n".join(table(HEAD, rows)))


def _row(asked: Asked, found: Trained) -> list[str]:
    stopped = f" ({found.stopped})" if found.stopped else ""
    return [str(asked.longest), asked.name + stopped, *found.cells]


def theirs(asked: Sequence[Asked]) -> list[Trained]:
    """What FastChat makes of each, in its own environment."""
    done = subprocess.run(
        [str(PYTHON), "-m", THEIRS],
        cwd=ROOT,
        input=json.dumps([asdict(each) for each in asked]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"FastChat's own code failed:\n{done.stderr[-2000:]}")
    return [_read(found) for found in json.loads(done.stdout)]


def _read(found: Mapping[str, Any]) -> Trained:
    stops = [f"{n} {why}" for why, n in found.items() if why.startswith("stopped")]
    facts = {name: n for name, n in found.items() if not name.startswith("stopped")}
    return Trained(**facts, stopped="; ".join(stops))


def ours(tokenizer: Path, data: Path, longest: int) -> Trained:
    loaded = ChatGLMTokenizer(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        made = samples_of(
            TrainingSettings(model_max_length=longest),
            loaded,
            [str(data)],
            root=Path(folder),
            say=_silent,
        )
        each = [made.samples[i] for i in range(len(made.samples))]
        counts = made.report.counts
        ends = sum(int((one.ids[one.trained] == loaded.end_ids[0]).sum()) for one in each)
        return Trained(counts.records, len(each), counts.tokens, counts.trained, ends)


def _silent(_: str) -> None:
    return None


def known(file: Path) -> Path:
    """The tiny ChatGLM2's dialogues in FastChat's form."""
    names = ("human", "gpt")
    records = [
        {
            "id": str(number),
            "conversations": [
                {"from": name, "value": text}
                for exchange in dialogue
                for name, text in zip(names, exchange, strict=True)
            ],
        }
        for number, dialogue in enumerate(dialogues())
    ]
    file.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return file


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.masks", description=__doc__)
    parser.add_argument("--data", type=Path, help="a JSON list in FastChat's form")
    parser.add_argument("--tokenizer", type=Path, help="a ChatGLM2's tokenizer.model")
    parser.add_argument("--longest", type=_numbers, default=(512, 256), help="tokens of a sample")
    args = parser.parse_args(argv)
    if args.tokenizer is None:
        args.tokenizer = chatglm2_model(cache_root(os.environ), say=print) / "tokenizer.model"
    return args


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main(sys.argv[1:])
