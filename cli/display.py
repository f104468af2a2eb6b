"""What `danlu up` prints: everybody's lines with a coloured name in front, bars while they load.

Where standard output is no terminal, bars become a line now and then.
"""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

OWN = "danlu"
COLOURS = {"controller": "cyan", "worker": "magenta", "webui": "green", OWN: "bold yellow"}
WIDTH = max(map(len, COLOURS))
LEVELS = {"| ERROR |": "red", "| CRITICAL |": "red", "| WARNING |": "yellow"}
STEP = 0.1  # of a bar: how often a line tells of it where there is no terminal


class Display:
    """Owned by the event loop; a context manager, because a bar hides the cursor."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.fields[prefix]}"),
            BarColumn(40),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def line(self, program: str, text: str) -> None:
        self._print(program, text, _style(text))

    def note(self, text: str) -> None:
        self._print(OWN, text, "bold")

    def loading(self, program: str, fraction: float, detail: str) -> None:
        if not self._console.is_terminal:
            self._tell(program, fraction, detail)
            return
        if program not in self._tasks:
            self._tasks[program] = self._bars.add_task(
                program, total=1.0, prefix=_prefix(program), detail=""
            )
        self._bars.update(self._tasks[program], completed=fraction, detail=detail)

    def settled(self, program: str) -> None:
        self._told.pop(program, None)
        if program in self._tasks:
            self._bars.remove_task(self._tasks.pop(program))

    def _tell(self, program: str, fraction: float, detail: str) -> None:
        if fraction - self._told.get(program, -1.0) >= STEP:
            self._told[program] = fraction
            self._print(program, f"{fraction:.0%} {detail}".rstrip(), "")

    def _print(self, program: str, text: str, style: str) -> None:
        whole = Text.assemble(_prefix(program), (text, style))
        self._console.print(whole, soft_wrap=True, highlight=False)


def _prefix(program: str) -> Text:
    return Text.assemble((f"{program:<{WIDTH}} | ", COLOURS.get(program, "blue")))


def _style(text: str) -> str:
    """A log line's colour by its level; other lines have none."""
    return next((style for level, style in LEVELS.items() if level in text), "")
