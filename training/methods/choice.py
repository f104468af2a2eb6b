"""The method that the settings name; only that one is imported."""

from importlib import import_module
from typing import Protocol

from ..settings import TrainingSettings
from .method import Method

METHODS = {
    "full": (".full", "Full"),
    "lora": (".lora", "Lora"),
    "qlora": (".qlora", "QLora"),
    "ptuning": (".ptuning", "PTuning"),
}


class _Kind(Protocol):
    def of(self, settings: TrainingSettings) -> Method: ...


def method_for(settings: TrainingSettings) -> Method:
    """How `settings.method` trains."""
    module, cls = METHODS[settings.method]
    kind: _Kind = getattr(import_module(module, __package__), cls)
    return kind.of(settings)
