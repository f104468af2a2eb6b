"""Makes the engine for --engine vllm: starts the server, waits for it, and asks it from then on."""

import os
import secrets
import shutil
import socket

from ...adapters.errors import StartError
from ..loading import Progress
from ..settings import WorkerSettings
from ..upstream.engine import UpstreamEngine
from ..upstream.facts import Wanted
from ..upstream.loading import connected
from .child import Child
from .command import arguments, environment

HOST = "127.0.0.1"
GRACE = 10.0  # seconds that vLLM gets to end by itself
READ = 0.9  # of the time goes into the weights; the rest into graphs and the cache
MISSING = (
    "vllm is not installed: there is no `vllm` on PATH; it wants an environment of its own, since "
    "it pins its own torch: pip install vllm, on Ascend pip install vllm vllm-ascend, "
    "and put that environment's bin on PATH"
)


def load_engine(settings: WorkerSettings, progress: Progress) -> UpstreamEngine:
    """Takes minutes; raises StartError with vLLM's last lines where it does not start."""
    program = shutil.which("vllm")
    if program is None:
        raise StartError(MISSING)
    port, key = _free_port(), secrets.token_hex(16)
    argv = [program, *arguments(settings, HOST, port)]
    child = Child(argv, environment(settings.device, os.environ, key))
    try:
        engine = _connected(settings, child, f"http://{HOST}:{port}/v1", key, progress)
    except BaseException:
        child.stop(GRACE)
        raise
    child.on_loss(lambda status: engine.lose(_lost(child, status)))
    return engine


def _connected(
    settings: WorkerSettings, child: Child, url: str, key: str, progress: Progress
) -> UpstreamEngine:
    wanted = Wanted(
        url=url,
        model=settings.names[0],
        dialect="vllm",
        context_length=settings.context_length,
        wait=settings.upstream_wait,
    )

    def alive() -> str:
        if child.ended.done():
            raise StartError(f"vllm ended with status {child.ended.result()}: {child.last_words}")
        progress.set(READ * child.loaded, child.last_line)
        return child.last_line

    return connected(
        settings, wanted, key, progress, alive=alive, on_close=lambda: child.stop(GRACE)
    )


def _lost(child: Child, status: int) -> str:
    return f"vllm ended with status {status}; this worker ends, ask another one: {child.last_words}"


def _free_port() -> int:
    """Nobody else takes it in the moment that vLLM needs to, and if so, its key is not known."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
