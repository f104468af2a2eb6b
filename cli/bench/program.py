"""The command itself: its flags, its exit status, and what it leaves behind on Ctrl-C."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from ...adapters.errors import StartError
from ...adapters.host.http import Http
from ...adapters.host.settings import knob, settings_from
from .asking import Asker
from .dialects import DIALECTS, Wishes
from .load import Ask, at_random, in_lanes
from .names import first_model
from .prompts import Question, Span, asked, made, prompts_of
from .sample import Sample
from .show import show
from .summary import Summary, summarise

PREFIX = "DANLU_BENCH_"
LANES = 8
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """Puts a server under load and measures it; exit status 1 if a request failed."""

    url: str = knob(
        "http://127.0.0.1:8000/v1", "base of an OpenAI-style API; with --api worker, of a worker"
    )
    api: str = knob(
        "chat", "what is asked; worker is FastChat's own protocol", choices=tuple(DIALECTS)
    )
    model: str = knob("", "model to ask; the first that the server lists if not given")
    api_key: str = knob("", "key of the API", env=("OPENAI_API_KEY",))
    requests: int = knob(32, "requests that are measured", low=1)
    concurrency: int | None = knob(
        None, f"most requests at a time; {LANES} if not given, with --rate any number", low=1
    )
    rate: float | None = knob(
        None, "requests a second, which come at random times (Poisson)", low=0.001
    )
    warmup: int = knob(2, "requests made before, and not measured", low=0)
    prompt_tokens: Span = knob(
        Span("128"), "tokens of a prompt, nearly: a word counts for one; or a range such as 64-256"
    )
    output_tokens: Span = knob(Span("128"), "most tokens of an answer, or a range")
    prompts: str = knob("", "a file with a prompt on each line, instead of made ones")
    ignore_eos: bool = knob(False, "answers end at their most tokens only, where servers know how")
    temperature: float = knob(0.0, "how freely tokens are chosen; 0 is greedy", low=0)
    seed: int = knob(0, "seed of prompts, lengths and times: the same again for the same number")
    timeout: float = knob(600.0, "seconds without any news after which a request failed", low=0.1)
    json: str = knob("", "a file for the result, too; - for standard output instead of tables")


def main(argv: Sequence[str]) -> None:
    """Raises StartError for bad flags, SystemExit for failed requests (1) and Ctrl-C (130)."""
    settings = settings_from(BenchSettings, argv, os.environ, PREFIX, prog="danlu bench")
    chance = random.Random(settings.seed)
    before, questions = _questions(settings, chance)
    model = settings.model or first_model(settings.url, settings.api, settings.api_key)
    wishes = Wishes(model, settings.temperature, settings.ignore_eos)
    run = Run(settings, wishes, chance)
    interrupted = False
    try:
        asyncio.run(run.all(before, questions))
    except KeyboardInterrupt:
        interrupted = True
    summary = summarise(run.samples, run.seconds)
    _tell(settings, model, summary)
    if interrupted:
        raise SystemExit(INTERRUPTED)
    if summary.failed:
        raise SystemExit(1)


class Run:
    """One load on one server. What is known so far is in `samples` and `seconds` at any time."""

    def __init__(self, settings: BenchSettings, wishes: Wishes, chance: random.Random) -> None:
        self._settings, self._wishes, self._chance = settings, wishes, chance
        self._begun: float | None = None
        self._ended: float | None = None
        self.samples: list[Sample] = []

    @property
    def seconds(self) -> float:
        if self._begun is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._begun

    async def all(self, before: Sequence[Question], questions: Sequence[Question]) -> None:
        settings = self._settings
        key = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        async with Http(headers=key) as http:
            dialect = DIALECTS[settings.api]
            asker = Asker(http, settings.url, dialect, self._wishes, silence=settings.timeout)
            await in_lanes(before, settings.concurrency or LANES, asker.ask, [])
            with _progress(len(questions), asker.ask) as ask:
                self._begun = time.perf_counter()
                await self._load(questions, ask)
                self._ended = time.perf_counter()

    async def _load(self, questions: Sequence[Question], ask: Ask) -> None:
        most, rate = self._settings.concurrency, self._settings.rate
        if rate is None:
            await in_lanes(questions, most or LANES, ask, self.samples)
        else:
            await at_random(questions, rate, most, ask, self.samples, self._chance)


class _progress:
    """A bar on standard error, for whoever sits there, that `ask` moves."""

    def __init__(self, total: int, ask: Ask) -> None:
        self._bar = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("requests", total=total)
        self._ask = ask

    def __enter__(self) -> Ask:
        self._bar.start()
        return self._counted

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    async def _counted(self, question: Question, sample: Sample) -> None:
        await self._ask(question, sample)
        self._bar.advance(self._task)


def _questions(
    settings: BenchSettings, chance: random.Random
) -> tuple[list[Question], list[Question]]:
    """Those of the warm-up, and those that are measured."""
    count, output = settings.warmup + settings.requests, settings.output_tokens
    if settings.prompts:
        questions = asked(prompts_of(Path(settings.prompts)), count, output, chance)
    else:
        questions = made(count, settings.prompt_tokens, output, chance)
    return questions[: settings.warmup], questions[settings.warmup :]


def _tell(settings: BenchSettings, model: str, summary: Summary) -> None:
    if settings.json:
        found = {"model": model, "settings": _plain(settings), **summary.as_json()}
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        if settings.json == "-":
            print(text, end="")
            return
        _write(Path(settings.json), text)
    show(Console(), summary, f"{model} at {settings.url} ({settings.api})")


def _plain(settings: BenchSettings) -> dict[str, Any]:
    """The settings as JSON can carry them, without the key."""
    plain = asdict(settings)
    del plain["api_key"]
    return {k: str(v) if isinstance(v, Span) else v for k, v in plain.items()}


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise StartError(f"--json {path} cannot be written: {exc.strerror}") from exc
