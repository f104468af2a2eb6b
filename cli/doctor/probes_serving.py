"""Around serving: what is found about the model, memory, ports, proxies and the terminal. Pure."""

from collections.abc import Iterator
from shlex import quote

from .catalogue import found
from .facts import Facts, Model, Port
from .finding import Finding
from .probing import expects_npu

PROGRAMS = {  # by the port that each has unless told otherwise, and what tells `danlu up` otherwise
    21001: ("controller", "--controller-port"),
    21002: ("worker", "--worker-port"),
    8000: ("API", "--api-port"),
    7860: ("page", "--port"),
}
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")
LOCAL = ("localhost", "127.0.0.1")
MB = 2**20
DISK = 1024  # MB that logs and compiled operators may take
ROOM = 1.1  # times the weights that loading and answering take


def model(facts: Facts) -> Iterator[Finding]:
    """The first thing that is wrong with the checkpoint: the others follow from it."""
    if facts.model is None:
        return
    findings = (
        _pointers(facts.model),
        _first_generation(facts.model),
        _cut(facts.model),
        _broken(facts.model),
    )
    yield from [finding for finding in findings if finding][:1]


def host_memory(facts: Facts) -> Iterator[Finding]:
    if facts.model is None or not facts.model.size or not facts.memory:
        return
    if expects_npu(facts) or facts.device.startswith("cuda"):
        return
    need = int(facts.model.size * (1 if facts.model.dtype == "float32" else 2) * ROOM)
    if need > facts.memory:
        yield found("model-memory", need=need // MB, free=facts.memory // MB)


def disk(facts: Facts) -> Iterator[Finding]:
    if facts.model and facts.model.size and facts.model.disk_free < DISK * MB:
        free = facts.model.disk_free // MB
        yield found("disk-full", path=quote(facts.model.path), free=free)


def ports(facts: Facts) -> Iterator[Finding]:
    for port in facts.ports:
        if "danlu" in port.owner:
            yield found("port-ours", port=port.number, owner=_owner(port))
        else:
            program, flag = PROGRAMS.get(port.number, ("program", "--port"))
            values = {"port": port.number, "owner": _owner(port), "program": program, "flag": flag}
            yield found("port-taken", values).mended_by(f"kill {port.pid}" if port.pid else None)


def proxy(facts: Facts) -> Iterator[Finding]:
    given = [name for name in PROXIES if facts.environment.get(name)]
    excepted = ",".join(facts.environment.get(name, "") for name in EXCEPTIONS)
    names = {name.strip() for name in excepted.split(",")}
    if given and "*" not in names and not names.issuperset(LOCAL):
        yield found("proxy", name=given[0])


def terminal(facts: Facts) -> Iterator[Finding]:
    if facts.encoding.lower().replace("-", "").replace("_", "") != "utf8":
        yield found("terminal", encoding=facts.encoding)


def _owner(port: Port) -> str:
    return f"{port.owner} (pid {port.pid})" if port.pid else port.owner


def _pointers(model: Model) -> Finding | None:
    if not model.pointers:
        return None
    count, first = len(model.pointers), model.pointers[0]
    return found("model-pointers", path=quote(model.path), count=count, first=first)


def _first_generation(model: Model) -> Finding | None:
    return found("model-first-generation", path=model.path) if model.kind == "chatglm1" else None


def _cut(model: Model) -> Finding | None:
    if model.problem or model.size >= model.declared:
        return None
    size, declared = model.size // MB, model.declared // MB
    return found("model-cut", path=quote(model.path), size=size, declared=declared)


def _broken(model: Model) -> Finding | None:
    return found("model-broken", problem=model.problem) if model.problem else None
