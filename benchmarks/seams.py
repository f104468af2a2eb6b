"""Opens the worker's engine for a benchmark on its own, and gives it streams from many threads."""

import argparse
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from danlu.adapters.errors import ServeError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.engine import AnyEngine
from danlu.worker.job import Piece

from .contenders.options import Options
from .contenders.seam import engine_flags, engine_for
from .models import MODELS, Contest, tokenizer_of

PATIENCE = 600.0  # seconds for one stream


class Stream:
    """A box that notes when pieces come, and may leave after some. Owned by the engine's thread,
    but for `left` and what is read once `closed` is set."""

    def __init__(self, leave_after: int | None = None) -> None:
        self.begun = time.perf_counter()
        self.times: list[float] = []
        self.texts: list[str] = []
        self.closes = 0
        self.error: ServeError | None = None
        self.closed = threading.Event()
        self._leave_after = leave_after
        self._left = leave_after == 0

    @property
    def abandoned(self) -> bool:
        return self._left

    def put(self, piece: Piece) -> None:
        self.times.append(time.perf_counter())
        self.texts.append(piece.text)
        if len(self.times) == self._leave_after:
            self.leave()

    def close(self, error: ServeError | None = None) -> None:
        self.closes += 1
        self.error = error
        self.closed.set()

    def leave(self) -> None:
        self._left = True

    @property
    def first(self) -> float:
        """Seconds from the request to the first piece."""
        return self.times[0] - self.begun

    def wait(self) -> None:
        """Until it is closed; raises what closed it, or TimeoutError."""
        if not self.closed.wait(PATIENCE):
            raise TimeoutError(f"a stream was not closed within {PATIENCE:.0f} s")
        if self.error is not None:
            raise self.error


class Opened:
    """An engine with its model's tokenizer and the prompts that suit it."""

    def __init__(
        self, engine: AnyEngine, tokenizer: PreTrainedTokenizerBase, contest: Contest
    ) -> None:
        self.engine = engine
        self._tokenizer, self._contest = tokenizer, contest

    def words(self, count: int, chance: random.Random) -> str:
        return self._contest.text(count, chance)

    def ids(self, count: int, chance: random.Random) -> list[int]:
        """Exactly `count` ids."""
        return list(self._tokenizer(self.words(count, chance))["input_ids"])[:count]

    def ask(self, body: GenerateBody, leave_after: int | None = None) -> Stream:
        """Put to the engine at once; the stream is running, or waits for its turn."""
        stream = Stream(leave_after)
        self.engine.submit(self.engine.admit(body), stream)
        return stream


@contextmanager
def opened(args: argparse.Namespace, streams: int, tokens: int) -> Iterator[Opened]:
    """The engine that `shared_flags` describe; raises Missing if the worker does not have it."""
    contest = MODELS[args.model]
    directory = args.model_path or contest.directory()
    which = engine_flags(args.engine)
    asked = Options(
        directory, args.dtype, args.threads, streams, tokens, (*which, *args.worker_flags)
    )
    engine = engine_for(asked)
    try:
        yield Opened(engine, tokenizer_of(directory), contest)
    finally:
        engine.close()


def shared_flags(doc: str | None) -> argparse.ArgumentParser:
    """Which engine, which model, how many threads."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2", choices=tuple(MODELS))
    parser.add_argument("--model-path", type=Path, help="another model that reads such prompts")
    parser.add_argument("--engine", default="batching", help="the worker's engine")
    parser.add_argument(
        "--worker-flags", default=[], type=str.split, help="further flags of the worker's, quoted"
    )
    parser.add_argument("--threads", default=os.cpu_count() or 1, type=int)
    parser.add_argument("--dtype", default="bfloat16")
    return parser


def greedy(ids: Sequence[int], tokens: int) -> GenerateBody:
    """An answer of exactly so many tokens."""
    return GenerateBody(
        prompt_token_ids=list(ids),
        max_new_tokens=tokens,
        temperature=0.0,
        ignore_eos=True,
        echo=False,
    )
