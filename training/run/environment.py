"""Where a training ran: versions, device and number of processes; nothing that names a machine."""

import importlib.metadata
import os
import platform
from typing import Any

from ... import __version__

PACKAGES = ("torch", "torch_npu", "transformers", "peft", "numpy", "tokenizers", "sentencepiece")


def environment(device: str, processes: int) -> dict[str, Any]:
    """`device` as it calls itself."""
    return {
        "danlu": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
        "processes": processes,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
