"""In Python: what is found about torch, torch_npu and the packages around them. Pure."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from shlex import quote

from packaging.requirements import InvalidRequirement, Requirement

from ...adapters.devices.explain import explain
from ...adapters.devices.static_tls import STEM, starved
from .catalogue import found
from .facts import Facts
from .finding import Finding, explained
from .probes_npu import model_path
from .probing import expects_npu, has_traces, last_of
from .versions import pip_pair, release

PYTHONS = ("3.11", "3.12")


def python_version(facts: Facts) -> Iterator[Finding]:
    if facts.python and ".".join(facts.python.split(".")[:2]) not in PYTHONS:
        yield found("python-version", version=facts.python)


def torch_missing(facts: Facts) -> Iterator[Finding]:
    if "torch" not in facts.packages:
        yield found("torch-missing", python=quote(facts.executable), wanted="danlu[worker]")


def stray_torch_npu(facts: Facts) -> Iterator[Finding]:
    if "torch_npu" in facts.packages and not has_traces(facts) and not facts.torch.ok:
        yield found("torch-npu-without-npu", python=quote(facts.executable))


def torch_npu_missing(facts: Facts) -> Iterator[Finding]:
    if expects_npu(facts) and has_traces(facts) and "torch_npu" not in facts.packages:
        torch = facts.packages["torch"]
        wanted = pip_pair(torch, facts.cann.version)
        yield found("torch-npu-missing", python=quote(facts.executable), torch=torch, wanted=wanted)


def torch_pair(facts: Facts) -> Iterator[Finding]:
    torch, npu = facts.packages.get("torch", ""), facts.packages.get("torch_npu", "")
    if npu and release(torch) != release(npu):
        wanted = f"torch=={release(npu)} torch_npu=={npu}"
        yield found(
            "torch-pair", python=quote(facts.executable), torch=torch, torch_npu=npu, wanted=wanted
        )


def static_tls(facts: Facts) -> Iterator[Finding]:
    for child in (facts.torch, facts.torch_npu, facts.page):
        library = starved(child.words) if not child.ok else None
        if library is None:
            continue
        if facts.preload:
            yield found("static-tls", library=library, preload=facts.preload)
        else:
            stem = STEM.match(PurePosixPath(library).name)
            yield found(
                "static-tls-without-cure", library=library, stem=stem[0] if stem else "libgomp"
            )
        return


def cuda_build(facts: Facts) -> Iterator[Finding]:
    if "torch_npu" in facts.packages and facts.cuda_build:
        torch = facts.packages.get("torch", "")
        values = {"torch": torch, "release": release(torch), "cuda": facts.cuda_build}
        built = found("cuda-torch", values, python=quote(facts.executable))
        yield built.at("warn" if facts.torch_npu.ok else "stop")


def torch_broken(facts: Facts) -> Iterator[Finding]:
    child = facts.torch
    if not child.asked or child.ok or starved(child.words) or facts.torch_alone.ok:
        return
    torch = facts.packages.get("torch", "")
    yield _explained_or(child.words, "torch-broken", facts, torch=release(torch))


def torch_npu_broken(facts: Facts) -> Iterator[Finding]:
    child = facts.torch_npu
    if child.asked and not child.ok and not starved(child.words) and has_traces(facts):
        yield _explained_or(child.words, "torch-npu-broken", facts)


def cuda_asked_for(facts: Facts) -> Iterator[Finding]:
    if facts.device.startswith("cuda") and facts.torch.ok and not facts.cuda_build:
        yield found(
            "cuda-asked-for",
            device=facts.device,
            torch=facts.packages.get("torch", ""),
            model=model_path(facts),
        )


def packages(facts: Facts) -> Iterator[Finding]:
    """danlu's own requirements, each against what is installed; those of a known trouble first."""
    yield from sorted(_packages(facts), key=lambda finding: finding.id == "package-range")


def _packages(facts: Facts) -> Iterator[Finding]:
    page = "gradio" in facts.packages
    for wanted in _requirements(facts):
        extra = _extra(wanted)
        if extra not in ("", "worker", "webui") or (extra == "webui" and not page):
            continue
        version = facts.packages.get(_key(wanted.name))
        if version is None:
            yield from _missing(wanted, facts)
        elif not wanted.specifier.contains(version, prereleases=True):
            yield _wrong(wanted, version, facts)
    if not page and facts.requires:
        yield found("page-missing", python=quote(facts.executable))


def page_broken(facts: Facts) -> Iterator[Finding]:
    child = facts.page
    if child.asked and not child.ok and not starved(child.words):
        yield found("page-broken", words=last_of(child.words), python=quote(facts.executable))


def _explained_or(words: str, id: str, facts: Facts, **values: str) -> Finding:
    cause = explain(words)
    if cause:
        return explained(cause)
    return found(id, values, words=last_of(words), python=quote(facts.executable))


def _requirements(facts: Facts) -> Iterator[Requirement]:
    for text in facts.requires:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue


def _extra(wanted: Requirement) -> str:
    """The extra that asks for it: danlu's requirements have no other markers."""
    return str(wanted.marker).rpartition("==")[2].strip().strip("\"'") if wanted.marker else ""


def _missing(wanted: Requirement, facts: Facts) -> Iterator[Finding]:
    if wanted.name == "torch" or "torch" not in facts.packages and _extra(wanted) == "worker":
        return  # torch-missing says it, and its command brings the others
    if wanted.name == "danlu":
        return
    id = "sentencepiece-missing" if wanted.name == "sentencepiece" else "package-missing"
    yield found(id, name=wanted.name, wanted=_bare(wanted), python=quote(facts.executable))


def _wrong(wanted: Requirement, version: str, facts: Facts) -> Finding:
    id = "package-range"
    if wanted.name == "gradio":
        id = "gradio-version"
    elif wanted.name == "starlette" and _extra(wanted) == "webui":
        id = "starlette-new"
    return found(
        id,
        name=wanted.name,
        version=version,
        range=str(wanted.specifier),
        wanted=_bare(wanted),
        python=quote(facts.executable),
    )


def _bare(wanted: Requirement) -> str:
    return f"{wanted.name}{wanted.specifier}"


def _key(name: str) -> str:
    """As names are kept in facts: torch-npu and torch_npu are one."""
    return name.lower().replace("-", "_").replace(".", "_")
