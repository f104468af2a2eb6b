"""`danlu train inspect`: what would be trained of the data, token by token; loads no weights."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from ...adapters.errors import StartError
from ...adapters.host import logs
from ...adapters.host.settings import knob, knob_of, settings_from
from ...training.settings import TrainingSettings, samples_root

PREFIX = "DANLU_TRAIN_INSPECT_"


@dataclass(frozen=True, slots=True)
class InspectSettings:
    """Shows what would be trained of some data: tokens, lengths, and records that are bad."""

    model_name_or_path: str = knob_of(TrainingSettings, "model_name_or_path")
    data_path: tuple[str, ...] = knob_of(TrainingSettings, "data_path")
    model_max_length: int = knob_of(TrainingSettings, "model_max_length")
    answers: str = knob_of(TrainingSettings, "answers")
    trust_remote_code: bool = knob_of(TrainingSettings, "trust_remote_code")
    chatglm_generation: int | None = knob_of(TrainingSettings, "chatglm_generation")
    show: int = knob(3, "samples that are shown whole", low=0)


def main(argv: Sequence[str]) -> None:
    settings = settings_from(
        InspectSettings,
        argv,
        os.environ,
        PREFIX,
        prog="danlu train inspect",
        as_transformers=True,
    )
    if not settings.model_name_or_path or not settings.data_path:
        raise StartError("give --model-path DIR, whose tokenizer it is, and --data-path FILE")
    logs.configure("train", level=logging.WARNING)
    _inspect(settings)


def _inspect(settings: InspectSettings) -> None:
    """Imports torch."""
    from ...training.data.inspecting import inspected

    wanted = TrainingSettings(
        model_name_or_path=settings.model_name_or_path,
        data_path=settings.data_path,
        model_max_length=settings.model_max_length,
        answers=settings.answers,
        trust_remote_code=settings.trust_remote_code,
        chatglm_generation=settings.chatglm_generation,
    )
    # Kept where a training would look for it.
    inspected(wanted, Console(), root=samples_root(os.environ), show=settings.show)
