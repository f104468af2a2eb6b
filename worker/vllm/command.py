"""The command line and the environment of a vLLM server, from a worker's settings. Pure."""

import shlex
from collections.abc import Mapping

from ...adapters.errors import StartError
from ..settings import WorkerSettings

VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}
OURS = (  # what the worker decides; said again in --vllm-flags it would break the two apart
    *("--host", "--port", "--uds", "--api-key", "--served-model-name", "--model"),
    *("--dtype", "--max-model-len", "--tensor-parallel-size", "-tp", "--trust-remote-code"),
)


def arguments(settings: WorkerSettings, host: str, port: int) -> list[str]:
    """What comes after `vllm`; raises StartError for --vllm-flags that it cannot have."""
    argv = ["serve", settings.model_path, "--host", host, "--port", str(port)]
    argv += ["--served-model-name", *settings.names]
    if settings.dtype is not None:
        argv += ["--dtype", settings.dtype]
    if settings.context_length is not None:
        argv += ["--max-model-len", str(settings.context_length)]
    if settings.num_gpus > 1:
        argv += ["--tensor-parallel-size", str(settings.num_gpus)]
    if settings.trust_remote_code:
        argv += ["--trust-remote-code"]
    return [*argv, *_further(settings.vllm_flags)]


def environment(device: str, environ: Mapping[str, str], key: str) -> dict[str, str]:
    """`environ` with the cards of `device`, and the key that vLLM is to ask for.

    A card's number counts among those that the variable leaves visible already.
    """
    env = {**environ, "VLLM_API_KEY": key, "PYTHONUNBUFFERED": "1"}
    kind, _, cards = device.partition(":")
    if cards and kind in VISIBLE:
        variable = VISIBLE[kind]
        env[variable] = ",".join(
            _visible(card, environ.get(variable), variable) for card in cards.split(",")
        )
    return env


def _visible(card: str, given: str | None, variable: str) -> str:
    left = [one.strip() for one in (given or "").split(",") if one.strip()]
    if not left:
        return card
    if int(card) >= len(left):
        raise StartError(f"card {card} is not there: {variable} leaves {','.join(left)}")
    return left[int(card)]


def _further(text: str) -> list[str]:
    try:
        flags = shlex.split(text)
    except ValueError as exc:
        raise StartError(f"--vllm-flags {text!r} cannot be taken apart: {exc}") from exc
    for flag in flags:
        if flag.partition("=")[0] in OURS:
            raise StartError(f"--vllm-flags cannot have {flag}: the worker's own flags decide that")
    return flags
