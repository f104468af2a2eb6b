"""What every contender is told at its start. Standard library only: see `lines`."""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """The model's directory (for llama.cpp a file), number format and threads.

    `streams` and `tokens` are the most there will be of streams, and of tokens in one of them;
    `more` is what only one contender understands.
    """

    model: Path
    dtype: str
    threads: int
    streams: int
    tokens: int
    more: tuple[str, ...]

    def flags(self) -> list[str]:
        """The command line that says the same."""
        known = (self.model, self.dtype, self.threads, self.streams, self.tokens)
        return [*map(str, known), *self.more]


def unfix_threads(asked: Options) -> None:
    """Where all cores are asked for, take back the variable that says so, for whoever starts after.

    To the worker it is a user's word that threads be not shared out among requests.
    """
    if asked.threads >= (os.cpu_count() or 1):
        os.environ.pop("OMP_NUM_THREADS", None)


def options() -> Options:
    """From this process' command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("dtype")
    for name in ("threads", "streams", "tokens"):
        parser.add_argument(name, type=int)
    known, more = parser.parse_known_args(sys.argv[1:])
    return Options(**vars(known), more=tuple(more))
