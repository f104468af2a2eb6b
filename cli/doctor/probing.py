"""How probes are put together: a probe is a pure function from facts to findings."""

from collections.abc import Callable, Iterable

from .facts import Facts
from .finding import Finding

LONGEST = 160  # characters of a program's last words in a finding

Probe = Callable[[Facts], Iterable[Finding]]


def expects_npu(facts: Facts) -> bool:
    """Whether an NPU is to be used, as far as flags and traces on this machine tell."""
    kind = facts.device.partition(":")[0]
    return kind == "npu" or (kind == "auto" and has_traces(facts))


def has_traces(facts: Facts) -> bool:
    """Whether anything of an NPU is here; a torch_npu alone is nothing but a mistake."""
    seen = (facts.pci_cards, facts.driver, facts.nodes, facts.cards, facts.smi.asked)
    return any(seen) or bool(facts.cann.set_env or facts.cann.home)


def first_broken(*links: Probe) -> Probe:
    """A chain: what hangs on a link that is broken is not asked, for it must fail, too."""

    def probe(facts: Facts) -> list[Finding]:
        findings: list[Finding] = []
        for link in links:
            findings += link(facts)
            if any(finding.severity == "stop" for finding in findings):
                break
        return findings

    return probe


def after(*before: Probe, then: Probe) -> Probe:
    """Each of `before`, and `then` only if none of them found what stops."""

    def probe(facts: Facts) -> list[Finding]:
        findings = [finding for probe in before for finding in probe(facts)]
        stopped = any(finding.severity == "stop" for finding in findings)
        return findings if stopped else [*findings, *then(facts)]

    return probe


def last_of(words: str) -> str:
    """The last line of a child's words, not too long: an exception's own."""
    lines = [line.strip() for line in words.splitlines() if line.strip()] or ["no words"]
    return lines[-1] if len(lines[-1]) <= LONGEST else lines[-1][: LONGEST - 1] + "…"
