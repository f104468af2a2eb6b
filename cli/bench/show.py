"""A run's summary as a person reads it: one table of counts and rates, one of durations."""

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .summary import Spread, Summary

MS = 1000.0
ROWS = (  # field of the summary, what it is called, what it is
    ("first", "TTFT", "to the first text"),
    ("per_token", "TPOT", "a token after the first"),
    ("gap", "ITL", "from text to text"),
    ("whole", "E2E", "the whole request"),
)
NEARLY_ONE = 1.05  # tokens a chunk; what ends an answer has none and lowers the average
MANY_ERRORS = 5


def show(console: Console, summary: Summary, title: str) -> None:
    counts = Table(title=Text(title), show_header=False, title_justify="left", min_width=48)
    for name, value in _counts(summary):
        counts.add_row(name, value)
    console.print(counts)
    console.print(_durations(summary))
    for note in notes(summary):
        console.print(Text(note))


def _counts(summary: Summary) -> list[tuple[str, str]]:
    ok, tokens = summary.ok or 1, f"{summary.prompt_tokens} + {summary.output_tokens}"
    ends = ", ".join(f"{count} {name}" for name, count in sorted(summary.finishes.items()))
    rows = [
        ("requests ok", f"{summary.ok}" + (f" ({ends})" if ends else "")),
        ("requests failed", str(summary.failed)),
        ("seconds", f"{summary.seconds:.2f}"),
        ("requests/s", f"{summary.request_rate:.2f}"),
        ("output tokens/s", f"{summary.output_rate:.1f}"),
        ("total tokens/s", f"{summary.total_rate:.1f}"),
        ("tokens of prompts + answers", tokens),
        (
            "of one, on average",
            f"{summary.prompt_tokens / ok:.1f} + {summary.output_tokens / ok:.1f}",
        ),
    ]
    if summary.unfinished:
        rows.insert(2, ("requests unfinished", str(summary.unfinished)))
    return rows


def _durations(summary: Summary) -> Table:
    table = Table()
    table.add_column("milliseconds")
    for head in ("mean", "p50", "p95", "p99", "highest"):
        table.add_column(head, justify="right")
    table.add_column("what")
    for field, name, what in ROWS:
        found: Spread = getattr(summary, field)
        values = (found.mean, found.p50, found.p95, found.p99, found.highest)
        table.add_row(name, *map(milliseconds, values), what)
    return table


def milliseconds(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{seconds * MS:.1f}"


def notes(summary: Summary) -> list[str]:
    """What a reader of the tables must know, and why requests failed."""
    said = []
    if summary.counted == "chunks":
        said.append("The server counted no tokens: a chunk with text counts for one token here.")
    elif summary.chunk_tokens > NEARLY_ONE:
        said.append(
            f"A chunk held {summary.chunk_tokens:.1f} tokens on average: "
            "ITL is from chunk to chunk, TPOT is a token's."
        )
    worst = sorted(summary.errors.items(), key=lambda item: -item[1])
    said += [f"{count} failed: {error}" for error, count in worst[:MANY_ERRORS]]
    if len(worst) > MANY_ERRORS:
        said.append(f"and {len(worst) - MANY_ERRORS} more kinds of errors")
    return said
