"""How findings look: readable in a narrow terminal, whole to be copied, and as JSON."""

import io
import json

import pytest
from rich.cells import cell_len
from rich.console import Console
from support.machines import machine

from danlu.cli.doctor.facts import from_json
from danlu.cli.doctor.probes import diagnose
from danlu.cli.doctor.report import as_json, show


def shown(name: str, lang: str, width: int = 80) -> str:
    out = io.StringIO()
    facts = machine(name).facts
    show(Console(file=out, width=width), facts, diagnose(facts), lang)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("lang", ["en", "zh", "both"])
def test_no_line_but_a_command_is_wider_than_the_terminal(lang: str, width: int) -> None:
    text = shown("container-without-npu", lang, width)
    wide = [line for line in text.splitlines() if cell_len(line) > width]
    assert len(wide) == 1 and wide[0].lstrip().startswith("1  docker run ")


def test_a_command_can_be_copied_from_one_line() -> None:
    for name in ("lfs-pointers", "cuda-torch", "proxy"):
        first = machine(name).first
        assert first is not None
        lines = shown(name, "en").splitlines()
        assert any(line.strip() == f"1  {first['command']}" for line in lines)


def test_each_language_is_shown_alone_and_both_together() -> None:
    english, chinese, both = (shown("no-cann", lang) for lang in ("en", "zh", "both"))
    assert "CANN is not installed" in english and "未安装" not in english
    assert "未安装 CANN" in chinese and "is not installed" not in chinese
    assert "CANN is not installed" in both and "未安装 CANN" in both


def test_a_healthy_machine_is_told_so_without_a_table() -> None:
    text = shown("healthy-npu", "en")
    assert text.endswith("Nothing keeps it from serving.\n")
    assert "│" not in text and "What to run" not in text


def test_brackets_of_a_machine_are_shown_and_not_taken_for_markup() -> None:
    text = shown("no-torch", "en")
    assert "'danlu[worker]'" in text


def test_json_has_both_languages_and_facts_that_can_be_read_back() -> None:
    facts = machine("gradio-4").facts
    report = json.loads(as_json(facts, diagnose(facts)))
    (finding,) = report["findings"]
    assert not report["ok"]
    assert finding["id"] == "gradio-version" and finding["severity"] == "stop"
    assert finding["what"].keys() == {"en", "zh"}
    assert from_json(json.dumps(report["facts"])) == facts


def test_a_warning_is_no_reason_to_fail() -> None:
    facts = machine("proxy").facts
    assert json.loads(as_json(facts, diagnose(facts)))["ok"]
