"""Machines that are broken in known ways: the cause is found first, with what mends it."""

import json
import re
from dataclasses import fields

import pytest
from hypothesis import given, strategies as st
from support.machines import Machine, machine, machines

from danlu.adapters.errors import StartError
from danlu.cli.doctor.catalogue import CATALOGUE
from danlu.cli.doctor.facts import Facts, from_json, to_json
from danlu.cli.doctor.finding import SEVERITIES, Finding
from danlu.cli.doctor.probes import diagnose

CHINESE = re.compile(r"[\u4e00-\u9fff]")
ALL = machines()

# Any mixture of the machines: what none of them is, but what a probe must live through.
MIXED = st.builds(
    Facts,
    **{f.name: st.sampled_from([getattr(m.facts, f.name) for m in ALL]) for f in fields(Facts)},
)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_the_first_finding_names_the_cause_and_the_right_command(one: Machine) -> None:
    findings = diagnose(one.facts)
    found = findings[0] if findings else None
    told = found and {
        "id": found.id,
        "severity": found.severity,
        "command": found.command,
    }
    assert told == one.first, one.broken


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_facts_are_the_same_after_a_journey_through_json(one: Machine) -> None:
    text = to_json(one.facts)
    assert from_json(text) == one.facts
    assert json.loads(text) == one.raw


def test_a_healthy_npu_machine_has_no_findings() -> None:
    assert diagnose(machine("healthy-npu").facts) == []


def test_a_machine_without_npu_is_told_so_and_serves() -> None:
    (only,) = diagnose(machine("no-npu").facts)
    assert only.severity == "note" and only.what.en.startswith("no NPU")


def test_what_follows_from_the_cause_is_not_told_beside_it() -> None:
    for name in ("set-env-not-sourced", "not-in-the-group", "not-restarted", "no-driver"):
        assert len(diagnose(machine(name).facts)) == 1, name


def test_a_machine_without_anything_at_all_is_lived_through() -> None:
    assert [finding.id for finding in diagnose(Facts())] == ["torch-missing", "no-npu"]


def test_every_entry_of_the_catalogue_is_the_finding_of_a_recorded_machine() -> None:
    reached = {finding.id for one in ALL for finding in diagnose(one.facts)}
    assert set(CATALOGUE) - reached == set()


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_findings_of_a_machine_are_sound(one: Machine) -> None:
    check(diagnose(one.facts))


@given(MIXED)
def test_whatever_is_wrong_together_findings_are_sound(facts: Facts) -> None:
    check(diagnose(facts))


def check(findings: list[Finding]) -> None:
    """Both languages, one line each, nothing left unfilled, the worst first."""
    for finding in findings:
        lines = [finding.what.en, finding.what.zh, finding.why.en, finding.why.zh]
        assert all(lines), finding
        assert CHINESE.search(finding.what.zh) and CHINESE.search(finding.why.zh), finding
        for line in [*lines, finding.command]:
            assert "\n" not in line and line == line.strip(), finding
            assert not re.search(r"\{[a-z_]+\}", line), finding
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("entry", CATALOGUE, ids=str)
def test_an_entry_speaks_english_and_chinese(entry: str) -> None:
    found = CATALOGUE[entry]
    for words in (found.what, found.why):
        assert words.en and not CHINESE.search(words.en)
        assert CHINESE.search(words.zh)


def test_what_are_no_facts_is_refused_in_a_sentence() -> None:
    with pytest.raises(StartError, match=r"no facts of a machine: cards\.0\.name: "):
        from_json('{"cards": [{"health": "OK"}]}')
