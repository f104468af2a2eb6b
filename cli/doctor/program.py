"""The command itself: its flags, its exit status, and the language it speaks."""

import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from ...adapters.errors import StartError
from ...adapters.host.settings import knob, settings_from
from .gather import gather
from .probes import diagnose
from .report import as_json, serves, show

PREFIX = "DANLU_DOCTOR_"
DEVICE = re.compile(r"auto|cpu|(cuda|npu)(:\d+)?")
CHINESE = re.compile(r"^zh", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DoctorSettings:
    """Finds out what keeps this machine from serving; exit status 1 if anything does."""

    model_path: str = knob("", "look at this model, too: its directory, or a .gguf file")
    device: str = knob("auto", "what is to be served on: auto, cpu, cuda, npu, or npu:1")
    lang: str = knob(
        "auto",
        "language; auto is Chinese where LANG is, and English elsewhere",
        choices=("auto", "en", "zh", "both"),
    )
    json: bool = knob(False, "print findings (in both languages) and facts as JSON")


def main(argv: Sequence[str]) -> None:
    """Raises StartError for bad flags and SystemExit(1) if something will not serve."""
    settings = settings_from(DoctorSettings, argv, os.environ, PREFIX, prog="danlu doctor")
    if DEVICE.fullmatch(settings.device) is None:
        raise StartError(
            f"--device {settings.device!r} is not supported; "
            "one of auto, cpu, cuda, npu, or one card of them, such as npu:1"
        )
    facts = gather(settings.device, settings.model_path, os.environ)
    findings = diagnose(facts)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Chinese shall see the rest
    if settings.json:
        print(as_json(facts, findings))
    else:
        lang = language(os.environ) if settings.lang == "auto" else settings.lang
        show(Console(), facts, findings, lang)
    if not serves(findings):
        raise SystemExit(1)


def language(environ: Mapping[str, str]) -> str:
    """As other programs choose it: the first of these variables that is set."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return "zh" if CHINESE.match(environ[name]) else "en"
    return "en"
