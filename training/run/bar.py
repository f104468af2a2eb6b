"""tqdm's progress bar, with the loss behind it."""

import sys
from contextlib import AbstractContextManager
from typing import TextIO

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class TqdmBar:
    """On standard error, if no other stream is given; lines are written above it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[None] | None = None

    def begin(self, done: int, steps: int) -> None:
        self._bar = tqdm(total=steps, initial=done, file=self._stream, dynamic_ncols=True)

    def move(self, step: int, loss: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self._bar.update(step - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def above_the_bar() -> AbstractContextManager[None]:
    """While it is open, lines of the log are written above the bar, too."""
    redirected: AbstractContextManager[None] = logging_redirect_tqdm()
    return redirected


def say_above(line: str) -> None:
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def say(line: str) -> None:
    print(line, flush=True)
