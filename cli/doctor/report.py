"""Shows findings and what was seen: as a table for people, as JSON for programs.

A command is printed below the table, on one line however long it is: it is there to be copied.
"""

import json
from collections.abc import Sequence

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...adapters.devices.known_errors import Words
from . import facts as machine
from .facts import Facts, Model
from .finding import Finding, Severity

MARKS: dict[Severity, tuple[str, str]] = {
    "stop": ("✗", "bold red"),
    "warn": ("!", "bold yellow"),
    "note": ("·", "dim"),
}
MB = 2**20
GB = 2**30


def as_json(facts: Facts, findings: Sequence[Finding]) -> str:
    report = {
        "ok": serves(findings),
        "findings": [finding.as_dict() for finding in findings],
        "facts": json.loads(machine.to_json(facts)),
    }
    return json.dumps(report, ensure_ascii=False, indent=2)


def serves(findings: Sequence[Finding]) -> bool:
    """Whether nothing was found that stops it."""
    return all(finding.severity != "stop" for finding in findings)


def show(console: Console, facts: Facts, findings: Sequence[Finding], lang: str) -> None:
    console.print(_seen(facts))
    if findings:
        console.print(_table(findings, lang))
    commands = [(number, f.command) for number, f in enumerate(findings, 1) if f.command]
    if commands:
        console.print(_said(Words("What to run, in this order:", "请按顺序执行："), lang))
        for number, command in commands:
            line = Text.assemble((f"{number:>3}  ", "dim"), (command, "green"))
            console.print(line, soft_wrap=True)
    console.print(_said(_verdict(findings), lang))


def _table(findings: Sequence[Finding], lang: str) -> Table:
    table = Table(show_header=False, expand=True, show_lines=True, border_style="dim")
    table.add_column(justify="right", style="dim", width=2)
    table.add_column(width=1)
    table.add_column(ratio=1, overflow="fold")
    for number, finding in enumerate(findings, 1):
        mark, style = MARKS[finding.severity]
        table.add_row(str(number), Text(mark, style=style), _cell(finding, lang))
    return table


def _cell(finding: Finding, lang: str) -> Group:
    """What it is, bold, and why, below; in one language after the other where both are wanted."""
    lines = []
    for one in ("en", "zh"):
        if lang in (one, "both"):
            lines += [
                Text(getattr(finding.what, one), style="bold"),
                Text(getattr(finding.why, one)),
            ]
    return Group(*lines)


def _seen(facts: Facts) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in seen(facts):
        table.add_row(name, escape(value))
    return table


def seen(facts: Facts) -> list[tuple[str, str]]:
    """What the machine is, in a few lines that need no translation."""
    packages = facts.packages
    cards = ", ".join(f"{c.name} {c.used}/{c.total} MB" for c in facts.cards)
    lines = [
        ("danlu", f"{facts.danlu} · Python {facts.python} · {facts.machine}"),
        ("NPU", cards or ", ".join(node.path for node in facts.nodes) or "–"),
        ("driver", f"{facts.driver or '–'} · CANN {facts.cann.version or '–'}"),
        ("torch", f"{packages.get('torch', '–')} · torch_npu {packages.get('torch_npu', '–')}"),
        (
            "page",
            f"gradio {packages.get('gradio', '–')} · starlette {packages.get('starlette', '–')}",
        ),
        ("memory", f"{facts.memory / GB:.1f} GB"),
    ]
    return [*lines, ("model", _model(facts.model))] if facts.model else lines


def _model(model: Model) -> str:
    facts = [model.path, model.kind or "?", model.dtype, f"{model.size / GB:.1f} GB"]
    return " · ".join(fact for fact in facts if fact)


def _verdict(findings: Sequence[Finding]) -> Words:
    stops = sum(finding.severity == "stop" for finding in findings)
    warnings = sum(finding.severity == "warn" for finding in findings)
    if stops:
        things = "1 thing keeps" if stops == 1 else f"{stops} things keep"
        return Words(f"{things} it from serving.", f"有 {stops} 个问题会导致无法提供服务。")
    if warnings:
        few = "1 warning" if warnings == 1 else f"{warnings} warnings"
        return Words(f"It serves; {few}.", f"可以提供服务；有 {warnings} 个警告。")
    return Words("Nothing keeps it from serving.", "没有发现会影响服务的问题。")


def _said(words: Words, lang: str) -> Text:
    said = [getattr(words, one) for one in ("en", "zh") if lang in (one, "both")]
    return Text(" ".join(said), style="bold")
