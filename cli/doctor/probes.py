"""All probes, in the order in which causes come before what follows from them. Pure."""

from . import probes_npu as npu, probes_python as python, probes_serving as serving
from .facts import Facts
from .finding import SEVERITIES, Finding
from .probing import Probe, after, first_broken

CARD = first_broken(npu.no_npu, npu.driver, npu.device_files, npu.permission, npu.smi, npu.health)
SOFTWARE = first_broken(
    python.python_version,
    python.torch_missing,
    python.stray_torch_npu,
    npu.cann_missing,
    npu.cann_not_sourced,
    python.torch_npu_missing,
    python.torch_pair,
    python.static_tls,
    python.cuda_build,
    npu.cann_old,
    python.torch_broken,
)
CHOICE = first_broken(npu.visible_devices, npu.card_number, python.torch_npu_broken)

PROBES: tuple[Probe, ...] = (
    after(CARD, SOFTWARE, then=CHOICE),
    npu.firmware,
    npu.chip,
    npu.card_memory,
    python.cuda_asked_for,
    python.packages,
    python.page_broken,
    serving.model,
    serving.host_memory,
    serving.disk,
    serving.ports,
    serving.proxy,
    serving.terminal,
)


def diagnose(facts: Facts) -> list[Finding]:
    """What is wrong, the worst first, and of equals the cause first."""
    findings = [finding for probe in PROBES for finding in probe(facts)]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
