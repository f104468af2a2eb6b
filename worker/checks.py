"""What is wrong with a worker's settings, found in milliseconds, before anything is loaded."""

import dataclasses
import re
from pathlib import Path

from ..adapters.errors import StartError
from ..adapters.host.addresses import given_url
from ..adapters.models.checkpoint import WANTED, checkpoint_at
from ..adapters.wire.conversation import template_named
from .adapter_paths import check_paths
from .settings import WorkerSettings

CARD = re.compile(r"auto|cpu|(cuda|npu)(:\d+)?")


def checked(settings: WorkerSettings) -> WorkerSettings:
    """The settings, addresses and card in one spelling; StartError for what cannot work."""
    check_model(settings.model_path)
    check_device(settings)
    if not settings.controller_address and not settings.no_register:
        raise StartError("--controller-address is empty; give one, or --no-register")
    if settings.revision != "main":
        raise StartError(
            f"--revision {settings.revision!r} chooses a version on a model hub, and --model-path "
            "is a directory here; download that version and give its directory"
        )
    check_paths(settings.adapters, settings.adapter_dir)
    if settings.conv_template is not None:
        template_named(settings.conv_template)
    return dataclasses.replace(
        settings,
        device=f"{settings.device}:{settings.gpus}" if settings.gpus else settings.device,
        worker_address=settings.worker_address
        and given_url("--worker-address", settings.worker_address),
        controller_address=tuple(
            given_url("--controller-address", address) for address in settings.controller_address
        ),
    )


def check_model(path: str) -> None:
    """Something that can be loaded, as far as its files tell."""
    if not path:
        raise StartError(f"--model-path is missing; {WANTED}")
    checkpoint_at(Path(path))


def check_device(settings: WorkerSettings) -> None:
    """One card, named in a way that we have."""
    device = settings.device
    if CARD.fullmatch(device) is None:
        raise StartError(
            f"--device {device!r} is not supported; "
            "one of auto, cpu, cuda, npu, or one card of them, such as npu:1"
        )
    if settings.num_gpus > 1:
        raise StartError(
            f"--num-gpus {settings.num_gpus} is not supported: a worker serves one card; "
            f"start one worker a card, with --device {device.partition(':')[0]}:0 and so on, "
            f"or all of them with danlu up --num-gpus {settings.num_gpus}"
        )
    if settings.gpus:
        _check_gpus(settings.gpus, device)


def _check_gpus(gpus: str, device: str) -> None:
    if not gpus.isdecimal():
        raise StartError(
            f"--gpus {gpus!r} is not supported: a worker serves one card; "
            "start one worker a card, with --gpus 0 and so on, or all of them with danlu up"
        )
    if device not in ("cuda", "npu"):
        raise StartError(f"--gpus {gpus} needs --device cuda or npu, not {device!r}")
