"""Which flags belong to which engine: what the chosen one cannot honour is refused by name."""

from collections.abc import Mapping
from dataclasses import fields

from ..adapters.errors import StartError
from ..adapters.host.settings import flag_name
from .settings import WorkerSettings

THERE = "the upstream has the model; start it with what you want"
ITS_OWN = "vLLM decides that"
FOR_UPSTREAM = "it is for --engine upstream"
FOR_BOTH = "it is for --engine upstream and --engine vllm"
UPSTREAM = {
    "upstream_url": FOR_UPSTREAM,
    "upstream_model": FOR_UPSTREAM,
    "upstream_key": FOR_UPSTREAM,
    "upstream_key_file": FOR_UPSTREAM,
    "upstream_dialect": FOR_UPSTREAM,
}
PATIENCE = {"upstream_silence": FOR_BOTH, "upstream_wait": FOR_BOTH}
VLLM = {"vllm_flags": "it is for --engine vllm"}

BATCH = dict.fromkeys(("kv_memory", "prompt_lookup_num_tokens"), "it is for --engine batching")
TUNED = dict.fromkeys(("adapters", "adapter_dir", "adapter_memory"), "it is for --engine batching")
ABOVE = {**BATCH, "limit_waiting": "the upstream decides how many may wait"}

NOT_FOR: Mapping[str, Mapping[str, str]] = {  # engine: field: why it is not honoured
    "auto": {**UPSTREAM, **PATIENCE, **VLLM},
    "batching": {**UPSTREAM, **PATIENCE, **VLLM},
    "thread": {**UPSTREAM, **PATIENCE, **VLLM, **BATCH, **TUNED},
    "upstream": {
        "model_path": THERE,
        "device": THERE,
        "gpus": THERE,
        "num_gpus": THERE,
        "dtype": THERE,
        "quantization": THERE,
        "load_8bit": THERE,
        "cpu_kernels": THERE,
        "chatglm_generation": THERE,
        "trust_remote_code": THERE,
        "embed_in_truncate": THERE,
        "adapters": THERE,
        "adapter_dir": THERE,
        "adapter_memory": THERE,
        "stream_interval": "the upstream decides when it sends",
        **ABOVE,
        **VLLM,
    },
    "vllm": {
        "quantization": f"{ITS_OWN}; --vllm-flags='--quantization NAME' tells it",
        "load_8bit": f"{ITS_OWN}; --vllm-flags='--quantization NAME' tells it",
        "cpu_kernels": ITS_OWN,
        "chatglm_generation": ITS_OWN,
        "embed_in_truncate": ITS_OWN,
        "adapters": f"{ITS_OWN}; --vllm-flags='--enable-lora --lora-modules …' tells it",
        "adapter_dir": ITS_OWN,
        "adapter_memory": f"{ITS_OWN}; --vllm-flags='--max-loras N' tells it",
        "stream_interval": f"{ITS_OWN}; --vllm-flags='--stream-interval N' tells it",
        **ABOVE,
        "prompt_lookup_num_tokens": f"{ITS_OWN}; --vllm-flags='--speculative-config …' tells it",
        **UPSTREAM,
    },
}


def check_choices(settings: WorkerSettings) -> None:
    """Raises StartError for a flag that the chosen engine would not look at."""
    engine = settings.engine
    for field in fields(settings):
        why = NOT_FOR[engine].get(field.name)
        value = getattr(settings, field.name)
        if why is not None and value != field.default:
            secret = value is True or field.name == "upstream_key"
            words = ",".join(map(str, value)) if isinstance(value, tuple) else value
            said = flag_name(field.name) + ("" if secret else f" {words}")
            raise StartError(f"{said} is not honoured by --engine {engine}: {why}")
