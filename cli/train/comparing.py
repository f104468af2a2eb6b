"""`danlu train compare`: the answers of a model and of what was made of it, side by side."""

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...adapters.errors import ServeError, StartError
from ...adapters.host import logs
from ...adapters.host.settings import knob, knob_of, settings_from
from ...adapters.models.checkpoint import CONFIG, read_json
from ...adapters.wire.generation import Message
from ...worker.checks import checked
from ...worker.engine import AnyEngine
from ...worker.settings import WorkerSettings
from ..borrowing import borrowed
from ..speaker import EngineSpeaker, Wishes
from .questions import Question, questions_in

PREFIX = "DANLU_TRAIN_COMPARE_"
BASE, ADAPTER = "base", "tuned"


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """Asks a model and what training made of it the same questions."""

    model_path: str = knob_of(WorkerSettings, "model_path")
    tuned: str = knob("", "directory of the model or adapter that was trained; required")
    question: tuple[str, ...] = knob((), "a question; once more for another one", whole=True)
    questions: str = knob("", "file of questions: a line each, or records as for a training")
    count: int = knob(10, "questions of the file that are asked, the first ones", low=1)
    max_new_tokens: int = knob(256, "tokens of an answer at most", low=1)
    temperature: float = knob(0.0, "above 0 draws at random", low=0)
    device: str = knob_of(WorkerSettings, "device")
    dtype: str | None = knob_of(WorkerSettings, "dtype")
    quantization: str | None = knob_of(WorkerSettings, "quantization")
    kv_memory: float | None = knob_of(WorkerSettings, "kv_memory")
    cpu_kernels: str = knob_of(WorkerSettings, "cpu_kernels")
    trust_remote_code: bool = knob_of(WorkerSettings, "trust_remote_code")
    chatglm_generation: int | None = knob_of(WorkerSettings, "chatglm_generation")

    @property
    def wishes(self) -> Wishes:
        return Wishes(self.temperature, 1.0, self.max_new_tokens)


def main(argv: Sequence[str]) -> None:
    settings = settings_from(
        CompareSettings, argv, os.environ, PREFIX, prog="danlu train compare", as_transformers=True
    )
    if not (settings.model_path and settings.tuned):
        raise StartError("give --model-path DIR, the model, and --tuned DIR, what was made of it")
    asked = questions_of(settings)
    base, tuned = worker_of(settings, settings.model_path), Path(settings.tuned)
    adapter = holds_adapter(tuned)
    other = base if adapter else worker_of(settings, settings.tuned)
    logs.configure("train", level=logging.WARNING)
    if adapter:
        before, after = _with_adapter(base, tuned, asked, settings.wishes)
    else:
        before = _of_model(base, asked, settings.wishes)
        after = _of_model(other, asked, settings.wishes)
    Console().print(table(asked, before, after))


def questions_of(settings: CompareSettings) -> list[Question]:
    """Those that are given, then the file's; raises StartError without any."""
    asked = [Question(text) for text in settings.question]
    if settings.questions:
        asked += questions_in(Path(settings.questions), settings.count)
    if not asked:
        raise StartError("give --question TEXT, or --questions FILE")
    return asked


def worker_of(settings: CompareSettings, model: str) -> WorkerSettings:
    """The worker that holds one of both, checked; raises StartError."""
    return checked(
        WorkerSettings(
            model_path=model,
            model_names=(BASE,),
            device=settings.device,
            dtype=settings.dtype,
            quantization=settings.quantization,
            kv_memory=settings.kv_memory,
            cpu_kernels=settings.cpu_kernels,
            trust_remote_code=settings.trust_remote_code,
            chatglm_generation=settings.chatglm_generation,
            limit_worker_concurrency=1,
            no_register=True,
        )
    )


def holds_adapter(path: Path) -> bool:
    """Whether a LoRA or a prefix lies there, rather than a model; its files are not looked into."""
    if (path / "adapter_config.json").is_file():
        return True
    return (path / CONFIG).is_file() and read_json(path / CONFIG).get("pre_seq_len") is not None


def _of_model(worker: WorkerSettings, asked: Sequence[Question], wishes: Wishes) -> list[str]:
    """One model after the other: both need not fit the device at once."""
    engine = borrowed(worker)
    try:
        return answers(engine, asked, wishes)
    finally:
        engine.close()


def _with_adapter(
    worker: WorkerSettings, path: Path, asked: Sequence[Question], wishes: Wishes
) -> tuple[list[str], list[str]]:
    """From one engine: an adapter lies beside its model."""
    engine = borrowed(worker)
    try:
        if engine.adapters is None:
            raise StartError(f"{worker.model_path} does not suit the engine that serves adapters")
        try:
            engine.adapters.load(ADAPTER, path).result()
        except ServeError as exc:
            raise StartError(f"{path} cannot be put beside {worker.model_path}: {exc}") from exc
        tuned = replace(wishes, model=f"{BASE}:{ADAPTER}")
        return answers(engine, asked, wishes), answers(engine, asked, tuned)
    finally:
        engine.close()


def answers(engine: AnyEngine, asked: Sequence[Question], wishes: Wishes) -> list[str]:
    """Each question by itself, without those before it."""
    with asyncio.Runner() as runner:
        speaker = EngineSpeaker(engine, runner, wishes)
        return [_answer(speaker, question) for question in asked]


def _answer(speaker: EngineSpeaker, question: Question) -> str:
    try:
        return "".join(speaker.answer([Message(role="user", content=question.text)]))
    except ServeError as exc:
        raise StartError(f"{question.text[:40]!r} cannot be asked: {exc}") from exc


def table(asked: Sequence[Question], before: Sequence[str], after: Sequence[str]) -> Table:
    """A row for each question; a column for the data's own answers where there are any."""
    known = any(question.answer for question in asked)
    drawn = Table(show_lines=True, expand=True)
    for heading in ("question", "before", "after", *(("data",) if known else ())):
        drawn.add_column(heading, ratio=1, overflow="fold")
    for question, old, new in zip(asked, before, after, strict=True):
        cells = (question.text, old, new, *((question.answer,) if known else ()))
        drawn.add_row(*map(Text, cells))
    return drawn
