"""danlu 丹炉: a FastChat-compatible serving stack for Ascend NPUs, CUDA cards and CPUs."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

CHAT_MODEL = "danlu.worker.chat_model"
FOR_SCRIPTS = ("AutoModel", "AutoTokenizer")  # as in `from transformers import …`


def __getattr__(name: str) -> Any:
    """Scripts find the model here; it is imported when asked for, and by its name.

    Every room imports this package first. An import statement would load torch for all of them, and
    would be an edge from each room to the worker in the graph that the import rules are held on.
    """
    if name in FOR_SCRIPTS:
        return getattr(import_module(CHAT_MODEL), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
