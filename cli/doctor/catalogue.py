"""All that can be found, by name, and a finding made of it."""

from collections.abc import Mapping
from typing import Any

from .finding import Entry, Finding, filled
from .words_npu import CONTAINER as CONTAINER, NPU
from .words_python import PYTHON
from .words_serving import SERVING

CATALOGUE: dict[str, Entry] = {**NPU, **PYTHON, **SERVING}


def found(id: str, values: Mapping[str, Any] | None = None, **more: Any) -> Finding:
    """The finding `id` with this machine's values."""
    return filled(id, CATALOGUE[id], {**(values or {}), **more})
