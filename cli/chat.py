"""`danlu chat`: a conversation with a model in this terminal, without servers.

FastChat's `fastchat.serve.cli`, flag by flag; the model runs in the worker's engine, in this
process.
"""

import asyncio
import io
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..adapters.errors import BadRequest, StartError
from ..adapters.host import logs
from ..adapters.host.settings import knob, knob_of, settings_from
from ..adapters.wire.generation import SEEDS, Message
from ..worker.checks import checked
from ..worker.settings import OFF, REFUSED, WorkerSettings
from .borrowing import borrowed
from .dialogue import Dialogue
from .speaker import EngineSpeaker, Wishes
from .styles import style_named
from .talk import Talk, is_text

PREFIX = "DANLU_CHAT_"


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Talks to a model in this terminal; !!exit or an empty line ends it."""

    model_path: str = knob_of(WorkerSettings, "model_path")
    engine: str = knob(
        "auto",
        "who computes: the worker's batches (batching), transformers' own passes (thread), or as "
        "suits the model (auto)",
        choices=("auto", "batching", "thread"),
    )
    kv_memory: float | None = knob_of(WorkerSettings, "kv_memory")
    device: str = knob_of(WorkerSettings, "device")
    gpus: str = knob_of(WorkerSettings, "gpus")
    num_gpus: int = knob_of(WorkerSettings, "num_gpus")
    dtype: str | None = knob_of(WorkerSettings, "dtype")
    quantization: str | None = knob_of(WorkerSettings, "quantization")
    load_8bit: bool = knob_of(WorkerSettings, "load_8bit")
    cpu_kernels: str = knob_of(WorkerSettings, "cpu_kernels")
    graphs: str = knob_of(WorkerSettings, "graphs")
    revision: str = knob_of(WorkerSettings, "revision")
    trust_remote_code: bool = knob_of(WorkerSettings, "trust_remote_code")
    chatglm_generation: int | None = knob_of(WorkerSettings, "chatglm_generation")
    context_length: int | None = knob_of(WorkerSettings, "context_length")
    conv_template: str | None = knob_of(WorkerSettings, "conv_template")
    conv_system_msg: str = knob("", "system message; the template's own if not given")
    temperature: float = knob(0.7, "below 1e-5 always takes the most probable token", low=0)
    repetition_penalty: float = knob(
        1.0, "above 1 makes repetitions less probable", low=0, aliases=("--repetition_penalty",)
    )
    max_new_tokens: int = knob(512, "tokens of an answer at most", low=1)
    seed: int | None = knob(
        None, "makes the same questions get the same answers", low=SEEDS[0], high=SEEDS[1]
    )
    no_history: bool = knob(False, "let every question stand alone")
    style: str = knob(
        "simple",
        "plain lines, an editable line and Markdown, or marked messages for a program",
        choices=("simple", "rich", "programmatic"),
    )
    multiline: bool = knob(False, "Enter makes a new line and Esc Enter sends (style rich)")
    mouse: bool = knob(False, "place the cursor with the mouse (style rich)")
    debug: bool = knob(False, "show tokens and speed after each answer")


CHAT_REFUSED = {
    **REFUSED,
    "--judge-sent-end": "an answer ends where the model ends it; leave it out",
}


def main(argv: Sequence[str]) -> None:
    settings = settings_from(
        ChatSettings, argv, os.environ, PREFIX, prog="danlu chat", refused=CHAT_REFUSED, off=OFF
    )
    if not is_text(settings.conv_system_msg):
        raise StartError(f"--conv-system-msg {settings.conv_system_msg!r} is no UTF-8 text")
    _take_any_bytes()
    style = style_named(settings.style, multiline=settings.multiline, mouse=settings.mouse)
    wishes = wishes_of(settings)
    worker = checked(worker_settings(settings))
    logs.configure("chat", level=logging.WARNING)
    engine = borrowed(worker)
    try:
        with asyncio.Runner() as runner:
            conversation = engine.card.conversation
            Dialogue(
                Talk(conversation["name"], conversation["roles"], settings.conv_system_msg),
                style,
                EngineSpeaker(engine, runner, wishes),
                remembers=not settings.no_history,
                debug=settings.debug,
            ).run()
    finally:
        engine.close()


def _take_any_bytes() -> None:
    """What is no UTF-8 is to be refused by the dialogue, in words, not by a stream, in between."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def wishes_of(settings: ChatSettings) -> Wishes:
    """Checked before the model is loaded; raises StartError."""
    wishes = Wishes(settings.temperature, settings.repetition_penalty, settings.max_new_tokens)
    try:
        wishes.body([Message(role="user", content="Hello!")])
    except BadRequest as exc:
        raise StartError(str(exc)) from exc
    return wishes


def worker_settings(settings: ChatSettings) -> WorkerSettings:
    """The worker that holds this chat's model: one request at a time, every token shown."""
    return WorkerSettings(
        model_path=settings.model_path,
        engine=settings.engine,
        kv_memory=settings.kv_memory,
        cpu_kernels=settings.cpu_kernels,
        graphs=settings.graphs,
        device=settings.device,
        gpus=settings.gpus,
        num_gpus=settings.num_gpus,
        dtype=settings.dtype,
        quantization=settings.quantization,
        load_8bit=settings.load_8bit,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        chatglm_generation=settings.chatglm_generation,
        context_length=settings.context_length,
        conv_template=settings.conv_template,
        seed=settings.seed,
        limit_worker_concurrency=1,
        stream_interval=1,
        no_register=True,
    )
