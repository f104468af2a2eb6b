"""From the bus to CANN: what is found about cards, driver, device files and CANN. Pure."""

from collections.abc import Iterator
from shlex import quote

from ...adapters.devices.explain import explain
from .catalogue import CONTAINER, found
from .facts import Card, Facts, Model
from .finding import Finding, explained
from .probing import expects_npu, has_traces, last_of
from .versions import CANN_OF, NEWEST_CANN, OLD_CHIPS, cann_age

MANAGER = "/dev/davinci_manager"
FIRST_CARD = "/dev/davinci0"
GROUP = "HwHiAiUser"  # the driver's own
WORK_ROOM = 2048  # MB beside the weights: the cache of a conversation, the operators
SEVEN_BILLION = 14336  # MB, where no model is named: ChatGLM2-6B in float16 and room to work
MB = 2**20


def no_npu(facts: Facts) -> Iterator[Finding]:
    if not has_traces(facts):
        if facts.device.startswith("npu"):
            yield found("npu-asked-for", device=facts.device, model=model_path(facts))
        elif facts.device == "auto":
            yield found("no-npu")


def driver(facts: Facts) -> Iterator[Finding]:
    if not expects_npu(facts) or facts.nodes:
        return
    if facts.container:
        yield found("container-without-npu", missing=FIRST_CARD)
    elif not facts.driver:
        yield found("driver-missing", cards=facts.pci_cards, machine=facts.machine)


def device_files(facts: Facts) -> Iterator[Finding]:
    paths = {node.path for node in facts.nodes}
    cards = paths - {MANAGER, "/dev/devmm_svm", "/dev/hisi_hdc"}
    missing = [MANAGER] if MANAGER not in paths else [] if cards else [FIRST_CARD]
    if expects_npu(facts) and missing:
        missed = found("device-files-missing", missing=missing[0], driver=facts.driver or "?")
        yield missed.mended_by(CONTAINER if facts.container else None)


def permission(facts: Facts) -> Iterator[Finding]:
    refused = [node for node in facts.nodes if not node.usable]
    if expects_npu(facts) and refused:
        group = refused[0].group if refused[0].group not in ("", "root") else GROUP
        yield found("device-permission", path=refused[0].path, group=group, user=facts.user)


def smi(facts: Facts) -> Iterator[Finding]:
    if not expects_npu(facts) or facts.cards:
        return
    if not facts.smi.asked:
        yield found("smi-missing")
        return
    cause = explain(facts.smi.words)
    yield explained(cause) if cause else found("smi-fails", words=last_of(facts.smi.words))


def health(facts: Facts) -> Iterator[Finding]:
    for index, card in enumerate(facts.cards):
        if expects_npu(facts) and card.health != "OK":
            values = {"card": index, "npu": card.npu, "name": card.name, "health": card.health}
            yield found("card-ill", values).at("warn" if card.health == "Warning" else "stop")


def firmware(facts: Facts) -> Iterator[Finding]:
    if not (expects_npu(facts) and facts.firmware and len(facts.firmware_range) == 2):
        return
    first, last = facts.firmware_range
    if not _numbers(first) <= _numbers(facts.firmware) <= _numbers(last):
        yield found(
            "firmware-range",
            firmware=facts.firmware,
            driver=facts.driver or "?",
            first=first,
            last=last,
        )


def visible_devices(facts: Facts) -> Iterator[Finding]:
    value = facts.environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if value is None or not facts.cards or not expects_npu(facts):
        return
    names = value.split(",")
    right = [n for n in names if n.strip().isdecimal() and int(n) < len(facts.cards)]
    if right != names or len(set(names)) != len(names):
        kept = ",".join(dict.fromkeys(n.strip() for n in right)) or "0"
        yield found("visible-devices", value=value, last=len(facts.cards) - 1, right=kept)


def card_number(facts: Facts) -> Iterator[Finding]:
    asked = facts.device.partition(":")[2]
    count = len(_visible(facts))
    if asked and facts.cards and expects_npu(facts) and int(asked) >= count:
        yield found("card-number", device=facts.device, count=count, model=model_path(facts))


def card_memory(facts: Facts) -> Iterator[Finding]:
    at = _chosen(facts)
    if at is None or not expects_npu(facts):
        return
    card, need = facts.cards[at], _wanted(facts.model)
    free = card.total - card.used
    if not card.total or free >= need:
        return
    values = {"card": at, "free": free, "total": card.total, "need": need}
    if card.processes:
        who = ", ".join(f"{p.name or '?'} {p.megabytes} MB" for p in card.processes)
        pids = ",".join(str(p.pid) for p in card.processes)
        yield found("card-full", values, who=who, pids=pids).mended_by(_roomier(facts, at, need))
    elif facts.model:
        yield found("card-too-small", values)


def chip(facts: Facts) -> Iterator[Finding]:
    at = _chosen(facts)
    if at is None or not expects_npu(facts) or not OLD_CHIPS.search(facts.cards[at].name):
        return
    name = facts.cards[at].name
    if facts.model and facts.model.dtype == "bfloat16":
        yield found("chip-without-bfloat16", name=name, model=model_path(facts))
    yield found("chip-of-old", name=name)


def cann_missing(facts: Facts) -> Iterator[Finding]:
    if expects_npu(facts) and has_traces(facts) and not (facts.cann.set_env or facts.cann.home):
        wanted = CANN_OF.get(facts.packages.get("torch_npu", ""), NEWEST_CANN)
        yield found("cann-missing", wanted=wanted, machine=facts.machine)


def cann_not_sourced(facts: Facts) -> Iterator[Finding]:
    cann = facts.cann
    known = (cann.home and cann.library_path) or facts.torch_npu.ok
    if expects_npu(facts) and cann.set_env and not known:
        yield found("cann-not-sourced", version=cann.version or "?", set_env=cann.set_env)


def cann_old(facts: Facts) -> Iterator[Finding]:
    installed = facts.packages.get("torch_npu", "")
    wanted, version = CANN_OF.get(installed), facts.cann.version
    if expects_npu(facts) and wanted and version and cann_age(version) < cann_age(wanted):
        values = {"version": version, "torch_npu": installed, "wanted": wanted}
        old = found("cann-old", values, machine=facts.machine)
        yield old.at("warn" if facts.torch_npu.ok else "stop")


def model_path(facts: Facts) -> str:
    """The model as a command names it."""
    return quote(facts.model.path) if facts.model else "DIR"


def _visible(facts: Facts) -> list[int]:
    """The places in `cards` of those that programs see, in their order."""
    value = facts.environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if value is None:
        return list(range(len(facts.cards)))
    numbers = [int(n) for n in value.split(",") if n.strip().isdecimal()]
    return [n for n in numbers if n < len(facts.cards)]


def _chosen(facts: Facts) -> int | None:
    """The place of the card that is to be served on; None if it is not here."""
    visible, asked = _visible(facts), facts.device.partition(":")[2]
    index = int(asked or 0)
    return visible[index] if index < len(visible) else None


def _roomier(facts: Facts, at: int, need: int) -> str | None:
    """The command that takes another card, if one has room."""
    for number, place in enumerate(_visible(facts)):
        card: Card = facts.cards[place]
        if place != at and card.total - card.used >= need:
            return f"danlu up --device npu:{number} --model-path {model_path(facts)}"
    return None


def _wanted(model: Model | None) -> int:
    """MB on a card, where weights are of two bytes."""
    if model is None or not model.size:
        return SEVEN_BILLION
    halves = model.size // 2 if model.dtype == "float32" else model.size
    return halves // MB + WORK_ROOM


def _numbers(version: str) -> tuple[int, ...]:
    """Of a firmware's version the first three: 7.5.0 of 7.5.0.1.129."""
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
