"""Brings a worker's model onto its device, on the calling thread, which it binds."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..adapters.devices.cpu import CPU
from ..adapters.devices.device import Device
from ..adapters.devices.explain import told
from ..adapters.devices.fault import Fault
from ..adapters.errors import DeviceLost, StartError
from ..adapters.kernels.library import Library, library
from ..adapters.models.loading import LoadedModel, load_model
from .loading import Progress
from .settings import WorkerSettings

READING = 0.95  # of the time goes into the weights, and the rest into what is made of them


def load(settings: WorkerSettings, device: Device, progress: Progress) -> LoadedModel:
    """The model for these settings; binds the calling thread to the device.

    Raises StartError, or DeviceLost where another try may go well.
    """
    with _losses(device):
        _bind(device)
        return load_model(
            Path(settings.model_path),
            device.name,
            dtype=dtype_for(settings.dtype, device),
            context_length=settings.context_length,
            trust_remote_code=settings.trust_remote_code,
            chatglm_generation=settings.chatglm_generation,
            quantization=settings.quantization,
            library=own_library(settings, device, progress),
            report=lambda fraction, detail: progress.set(READING * fraction, detail),
        )


def own_library(settings: WorkerSettings, device: Device, progress: Progress) -> Library | None:
    """The kernels for the host's processor, made at the first start; None where torch's do it."""
    if device.name != CPU.name or settings.cpu_kernels == "torch":
        return None
    progress.set(0.0, "preparing kernels")
    return library(os.environ)


def dtype_for(wanted: str | None, device: Device) -> str | None:
    """The number format to load with; None leaves it to the checkpoint."""
    if device.bfloat16:
        return wanted
    if wanted == "bfloat16":
        raise StartError(
            f"--dtype bfloat16 is nothing that {device.name} computes with; take float16"
        )
    return wanted or "float16"


def lost(device: Device) -> DeviceLost:
    """What is said of a device that answers nothing more."""
    return DeviceLost(f"{device.name} is lost; this worker ends, ask another one")


def _bind(device: Device) -> None:
    try:
        device.bind_thread()
    except Exception as exc:  # whatever the vendor's library raises
        raise StartError(f"--device {device.name} cannot be used: {told(exc)}") from exc


@contextlib.contextmanager
def _losses(device: Device) -> Iterator[None]:
    """A device that is lost while it is loaded is that, and no fault of the settings."""
    try:
        yield
    except Exception as exc:
        if any(device.fault(e) is Fault.LOST for e in (exc, exc.__cause__) if e is not None):
            raise lost(device) from exc
        raise
