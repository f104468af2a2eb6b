"""A finding: an entry of the catalogue, with the values of this machine in its words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from ...adapters.devices.explain import Explanation
from ...adapters.devices.known_errors import Words

Severity = Literal["stop", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("stop", "warn", "note")  # the worst first


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind of finding; braces in its words are values of the machine.

    stop: something will not serve; warn: it will, but not well; note: good to know.
    """

    severity: Severity
    what: Words
    why: Words
    command: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    id: str
    severity: Severity
    what: Words
    why: Words
    command: str

    def at(self, severity: Severity) -> Self:
        return replace(self, severity=severity)

    def mended_by(self, command: str | None) -> Self:
        """With another command than the catalogue's, if there is a better one here."""
        return replace(self, command=command) if command else self

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "severity": self.severity,
            "what": {"en": self.what.en, "zh": self.what.zh},
            "why": {"en": self.why.en, "zh": self.why.zh},
            "command": self.command,
        }


def filled(id: str, entry: Entry, values: Mapping[str, Any]) -> Finding:
    """The finding that `entry` becomes with these values."""
    return Finding(
        id,
        entry.severity,
        _words(entry.what, values),
        _words(entry.why, values),
        entry.command.format_map(values),
    )


def explained(explanation: Explanation, severity: Severity = "stop") -> Finding:
    """The finding that a fault of CANN's is; its sign stands behind what it is."""
    fault, sign = explanation.known, explanation.sign
    what = Words(f"{fault.what.en} ({sign})", f"{fault.what.zh}（{sign}）")
    return Finding(f"fault-{fault.id}", severity, what, fault.why, fault.command)


def _words(words: Words, values: Mapping[str, Any]) -> Words:
    return Words(words.en.format_map(values), words.zh.format_map(values))
