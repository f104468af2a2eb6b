"""Looks for CANN where it installs itself, and in this shell's environment."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .facts import Cann

ROOTS = ("/usr/local/Ascend", "~/Ascend", "/home/HwHiAiUser/Ascend")
PACKAGES = ("cann", "ascend-toolkit", "nnae", "nnrt")  # the fuller first
INFOS = (
    "*-linux/ascend_toolkit_install.info",
    "*-linux/ascend_*_install.info",
    "runtime/version.info",
    "compiler/version.info",
)
VERSION = re.compile(r"^\s*version\s*=\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def cann_of(environ: Mapping[str, str]) -> Cann:
    home = environ.get("ASCEND_HOME_PATH") or environ.get("ASCEND_TOOLKIT_HOME") or ""
    script = next(_scripts(), None)
    places = [Path(home)] if home else []
    if script:
        places += [script.parent / "latest", script.parent]
    version = next((found for place in places if (found := _version(place))), "")
    return Cann(str(script or ""), version, home, _leads_into(home, environ))


def _scripts() -> Iterator[Path]:
    for root in ROOTS:
        for package in PACKAGES:
            script = Path(os.path.expanduser(root)) / package / "set_env.sh"
            if script.is_file():
                yield script


def _version(home: Path) -> str:
    for pattern in INFOS:
        for file in sorted(home.glob(pattern)):
            try:
                found = VERSION.search(file.read_text(encoding="utf-8", errors="replace"))
            except OSError:
                continue
            if found:
                return found[1]
    return ""


def _leads_into(home: str, environ: Mapping[str, str]) -> bool:
    parts = environ.get("LD_LIBRARY_PATH", "").split(":")
    return bool(home) and any(part.startswith(home.rstrip("/")) for part in parts)
