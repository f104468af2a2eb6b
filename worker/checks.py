"""What is wrong with a worker's settings, found in milliseconds, before anything is loaded."""

import dataclasses
import re
from pathlib import Path

from ..adapters.errors import StartError
from ..adapters.host.addresses import given_url
from ..adapters.models.checkpoint import WANTED, checkpoint_at
from ..adapters.wire.conversation import template_named
from .adapter_paths import check_paths
from .choices import check_choices
from .settings import WorkerSettings

CARDS = re.compile(r"\d+(,\d+)*")
QUANTIZATIONS = ("int8", "int4")
CARD = re.compile(r"auto|cpu|(cuda|npu)(:\d+)?")


def checked(settings: WorkerSettings) -> WorkerSettings:
    """The settings with each fact in one spelling; StartError for what cannot work."""
    check_choices(settings)
    if settings.engine == "upstream":
        _check_upstream(settings)
    else:
        check_model(settings.model_path)
        check_device(settings, several=settings.engine == "vllm")
    quantization = chosen_quantization(settings)
    if not settings.controller_address and not settings.no_register:
        raise StartError("--controller-address is empty; give one, or --no-register")
    if settings.revision != "main":
        raise StartError(
            f"--revision {settings.revision!r} chooses a version on a model hub, and --model-path "
            "is a directory here; download that version and give its directory"
        )
    check_paths(settings.adapters, settings.adapter_dir)
    if settings.adapter_memory is not None and not (settings.adapters or settings.adapter_dir):
        raise StartError(
            f"--adapter-memory {settings.adapter_memory:g} is for adapters, and there are none; "
            "give --adapters or --adapter-dir, or leave it out"
        )
    if settings.conv_template is not None:
        template_named(settings.conv_template)
    return dataclasses.replace(
        settings,
        device=f"{settings.device}:{settings.gpus}" if settings.gpus else settings.device,
        upstream_url=settings.upstream_url and given_url("--upstream-url", settings.upstream_url),
        quantization=quantization,
        load_8bit=False,
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


def check_device(settings: WorkerSettings, *, several: bool = False) -> None:
    """One card, named in a way that we have; or `several`, for an engine that spreads a model."""
    device = settings.device
    if CARD.fullmatch(device) is None:
        raise StartError(
            f"--device {device!r} is not supported; "
            "one of auto, cpu, cuda, npu, or one card of them, such as npu:1"
        )
    if settings.num_gpus > 1 and not several:
        kind = _kind(device)
        raise StartError(
            f"--num-gpus {settings.num_gpus} is not supported: a worker serves one card; "
            f"start one worker a card, with --device {kind}:0 and so on, "
            f"or all of them with danlu up --device {kind} --num-gpus {settings.num_gpus}"
        )
    if settings.gpus:
        _check_gpus(settings.gpus, device, several)


def _check_upstream(settings: WorkerSettings) -> None:
    if not settings.upstream_url:
        raise StartError("--engine upstream needs --upstream-url, such as http://host:port/v1")
    if settings.upstream_key and settings.upstream_key_file:
        raise StartError("give --upstream-key or --upstream-key-file, not both")


def chosen_quantization(settings: WorkerSettings) -> str | None:
    """The integers that the weights become; FastChat's flag and ours may not contradict."""
    if settings.quantization not in (None, *QUANTIZATIONS):  # by a script, past the flag's check
        raise StartError(
            f"quantization {settings.quantization!r} is unknown; one of {', '.join(QUANTIZATIONS)}"
        )
    if not settings.load_8bit:
        return settings.quantization
    if settings.quantization == "int4":
        raise StartError("--load-8bit and --quantization int4 contradict each other; leave out one")
    return "int8"


def _check_gpus(gpus: str, device: str, several: bool) -> None:
    listed = several and CARDS.fullmatch(gpus)
    if not listed and not gpus.isdecimal():
        cards = gpus if CARDS.fullmatch(gpus) else "0,1"
        raise StartError(
            f"--gpus {gpus!r} is not supported: a worker serves one card; "
            "start one worker a card, with --gpus 0 and so on, "
            f"or all of them with danlu up --device {_kind(device)} --gpus {cards}"
        )
    if device not in (("cuda", "npu") if several else ("auto", "cuda", "npu")):
        raise StartError(f"--gpus {gpus} needs --device cuda or npu, not {device!r}")


def _kind(device: str) -> str:
    """What has several cards: the kind that was chosen, or else the one that this is made for."""
    kind = device.partition(":")[0]
    return kind if kind in ("cuda", "npu") else "npu"
