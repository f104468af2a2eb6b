"""All that hears of a training in the first process, set up and closed in one place."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..progress import Listener
from ..settings import TrainingSettings
from .bar import TqdmBar, above_the_bar, say, say_above
from .board import Board, writer
from .curves import Curves
from .folder import RunFolder
from .log import Log
from .several import Several, closing
from .showing import NoBar, Showing
from .summary import Account


@contextmanager
def telling(
    settings: TrainingSettings, account: Account, clock: Callable[[], float]
) -> Iterator[Listener]:
    """Log, curves, lines, bar and TensorBoard as they are asked for; raises StartError."""
    folder = RunFolder(Path(settings.output_dir))
    with ExitStack() as opened:
        showing = opened.enter_context(_showing(settings))
        curves = opened.enter_context(closing(Curves(folder.curves, folder.log, clock)))
        # The log before the curves, which read what it has cut.
        listeners: list[Listener] = [account, Log(folder.log), showing, curves]
        if "tensorboard" in settings.report_to:
            place = Path(settings.logging_dir or Path(settings.output_dir) / "runs")
            listeners.append(opened.enter_context(closing(Board(writer(place)))))
        yield Several(listeners)


@contextmanager
def _showing(settings: TrainingSettings) -> Iterator[Showing]:
    """With a bar where a person looks."""
    every, first = settings.logging_steps, settings.logging_first_step
    if settings.disable_tqdm or not sys.stderr.isatty():
        yield Showing(say, NoBar(), every=every, first=first)
        return
    with closing(TqdmBar()) as bar, above_the_bar():
        yield Showing(say_above, bar, every=every, first=first)
