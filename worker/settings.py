"""What can be set on a worker: FastChat's model_worker flags, honoured or refused by name."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..adapters.host.settings import knob, settings_from
from ..adapters.wire.conversation import VERSIONS
from ..adapters.wire.generation import SEEDS
from .upstream.dialects import NAMES

PREFIX = "DANLU_WORKER_"
LOOKAHEAD = 15  # with the token before it, a card's smallest part of a prompt


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Hosts one model on one device and serves it to a controller."""

    model_path: str = knob(
        "", "directory of a Hugging Face model, or a .gguf file; required but for an upstream"
    )
    model_names: tuple[str, ...] = knob(
        (),
        "names it is served under; the last part of the path, or the upstream's own, if not given",
    )
    engine: str = knob(
        "auto",
        "who computes: this process, all requests in one batch (batching), one by one (thread) or "
        "as suits the model (auto); an OpenAI-compatible server that runs already (upstream); or a "
        "vLLM server that the worker starts and ends (vllm)",
        choices=("auto", "batching", "thread", "upstream", "vllm"),
    )
    upstream_url: str = knob("", "the server of --engine upstream, such as http://host:port/v1")
    upstream_model: str = knob("", "the upstream's name of the model; its only one if not given")
    upstream_key: str = knob(
        "", "key for the upstream; a flag shows among processes, a file does not"
    )
    upstream_key_file: str = knob("", "file whose first line is the key for the upstream")
    upstream_dialect: str = knob(
        "auto",
        "what the upstream is, which decides what it can be asked; found out if not given",
        choices=("auto", *NAMES),
    )
    upstream_silence: float = knob(
        600.0, "seconds that the upstream may say nothing while it answers", low=1
    )
    upstream_wait: float = knob(
        1800.0, "seconds that the upstream, or vLLM, gets to start until the worker gives up", low=0
    )
    vllm_flags: str = knob(
        "",
        "further flags for `vllm serve`, as --vllm-flags='--one --other 2', quoted as in a shell",
    )
    host: str = knob("localhost", "address to listen on; 0.0.0.0 for every network")
    port: int = knob(21002, "port to listen on; 0 for any free one", low=0, high=65535)
    worker_address: str = knob("", "URL that others reach it at; from host and port if not given")
    controller_address: tuple[str, ...] = knob(
        ("http://localhost:21001",), "controllers to register with, separated by commas"
    )
    no_register: bool = knob(False, "register with no controller")
    heart_beat_interval: float = knob(
        45.0,
        "seconds between two heart-beats",
        low=0.1,
        env=("FASTCHAT_WORKER_HEART_BEAT_INTERVAL",),
    )
    device: str = knob("auto", "auto, cpu, cuda, npu, or one card of them, such as npu:1")
    gpus: str = knob("", "number of the card, for --device cuda, npu or auto")
    num_gpus: int = knob(1, "cards for the model; more than one with --engine vllm only", low=1)
    dtype: str | None = knob(
        None,
        "number format of the weights; the device's usual one if not given",
        choices=("float32", "float16", "bfloat16"),
    )
    quantization: str | None = knob(
        None,
        "integers that the weights are packed into while loading; the computing stays in "
        "bfloat16, or float16 on an NPU",
        choices=("int8", "int4"),
    )
    load_8bit: bool = knob(False, "FastChat's word for --quantization int8")
    cpu_kernels: str = knob(
        "auto",
        "who multiplies few rows on --device cpu: danlu's own kernels, which g++ compiles at the "
        "first start, or torch's; its own where they can be made (auto)",
        choices=("auto", "torch"),
    )
    chatglm_generation: int | None = knob(
        None, "2 or 3, for a ChatGLM whose config.json does not tell which it is", low=2, high=3
    )
    conv_template: str | None = knob(
        None, "FastChat conversation template; the model's own chat template if not given"
    )
    fastchat_version: str = knob(
        "main",
        "the stock FastChat that asks this worker for its template: a git checkout, or the release",
        choices=VERSIONS,
    )
    context_length: int | None = knob(
        None, "tokens of prompt and answer together; the model's own limit if not given", low=16
    )
    adapters: tuple[str, ...] = knob(
        (), "LoRA and P-Tuning v2 adapters to serve beside the model: name=directory, ..."
    )
    adapter_dir: str = knob(
        "", "directory below which adapters may be loaded while it runs; none may if not given"
    )
    adapter_memory: float | None = knob(
        None,
        "GiB for all adapters, kept free of answers; if not given what --adapters take, and with "
        "--adapter-dir a twentieth of what is free beside them",
        low=0,
    )
    embed_in_truncate: bool = knob(
        False, "cut texts for embeddings that exceed the context, instead of averaging their parts"
    )
    limit_worker_concurrency: int | None = knob(
        None,
        "requests that run at a time, the rest wait; as suits the engine if not given",
        low=1,
    )
    limit_waiting: int = knob(256, "requests that may wait; more are turned away", low=0)
    kv_memory: float | None = knob(
        None,
        "GiB for the answers in the making (KV cache); most of what is free if not given",
        low=0,
    )
    prompt_lookup_num_tokens: int = knob(
        0,
        "tokens that an answer may gain in one step where it repeats what stands in it or in its "
        "prompt (speculative decoding by prompt look-up); 0 for none",
        low=0,
        high=LOOKAHEAD,
    )
    stream_interval: int = knob(1, "tokens from one frame of a stream to the next", low=1)
    seed: int | None = knob(None, "seed of requests that give none", low=SEEDS[0], high=SEEDS[1])
    revision: str = knob("main", "FastChat's hub revision; a directory has only main")
    trust_remote_code: bool = knob(False, "run Python code that lies beside the model's weights")
    drain_seconds: float = knob(30.0, "seconds that running answers get to finish on a stop", low=0)
    ssl: bool = knob(False, "serve HTTPS with the files of SSL_KEYFILE and SSL_CERTFILE")
    ssl_keyfile: str = knob("", "private key for --ssl", env=("SSL_KEYFILE",))
    ssl_certfile: str = knob("", "certificate for --ssl", env=("SSL_CERTFILE",))
    log_dir: str = knob("", "directory of the log file; none if empty", env=("LOGDIR",))
    debug: bool = knob(False, "log every request's parameters, and what is underneath")

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the model is served under; none where only the upstream can tell."""
        if self.model_names or not self.model_path:
            return self.model_names
        return (last_part(self.model_path),)


COMPRESSED = (
    "GPTQ and AWQ files are not read; give the model that they were made from, with "
    "--quantization int4 or int8"
)
INTEL = "xFasterTransformer is not part of danlu; leave the flag out"
REFUSED = {
    "--max-gpu-memory": "a model must fit its one card; take a smaller one or a .gguf file",
    "--cpu-offloading": "a model must fit its one card; --device cpu runs it without one",
    "--gptq-ckpt": COMPRESSED,
    "--gptq-wbits": COMPRESSED,
    "--gptq-groupsize": COMPRESSED,
    "--gptq-act-order": COMPRESSED,
    "--awq-ckpt": COMPRESSED,
    "--awq-wbits": COMPRESSED,
    "--awq-groupsize": COMPRESSED,
    "--enable-exllama": COMPRESSED,
    "--exllama-max-seq-len": COMPRESSED,
    "--exllama-gpu-split": COMPRESSED,
    "--exllama-cache-8bit": COMPRESSED,
    "--enable-xft": INTEL,
    "--xft-max-seq-len": INTEL,
    "--xft-dtype": INTEL,
}
# What FastChat's launchers write for "off": accepted, because it asks for nothing.
OFF = {
    "--cpu-offloading": ("false", "False"),
    "--gptq-wbits": ("16",),
    "--gptq-groupsize": ("-1",),
    "--awq-wbits": ("16",),
    "--awq-groupsize": ("-1",),
    "--exllama-max-seq-len": ("4096",),
    "--xft-max-seq-len": ("4096",),
}


def worker_settings(argv: Sequence[str], environ: Mapping[str, str]) -> WorkerSettings:
    """The worker that flags and environment describe; raises StartError for an illegal one."""
    return settings_from(
        WorkerSettings, argv, environ, PREFIX, prog="danlu-worker", refused=REFUSED, off=OFF
    )


def last_part(path: str) -> str:
    """FastChat's name for a model: the last part of its path; a file goes without its suffix."""
    part = Path(os.path.abspath(path))
    return part.stem if part.suffix == ".gguf" else part.name
