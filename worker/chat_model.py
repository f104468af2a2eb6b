"""The original's two names for scripts, AutoTokenizer and AutoModel, over the worker's engine.

A script that chats with ChatGLM2 works with one import changed, and with any other model that a
worker can load. The model is loaded and run on threads of its own that are bound to the device, so
`chat` may be called from any thread, and nothing beside the weights is executed or patched.
"""

import dataclasses
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, Unpack

from transformers import PreTrainedTokenizerBase

from ..adapters.devices.device import Device, device_named
from ..adapters.errors import BadRequest
from ..adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from ..adapters.models.loading import LoadedModel
from ..adapters.models.tokenizers import tokenizer_at
from .chat_history import Query, Reply, Talk
from .chat_wishes import CHATGLM, Manners, Wishes, body_of, room, total
from .checks import checked
from .job import Job
from .loading import Progress
from .outbox import ThreadOutbox
from .settings import WorkerSettings
from .showing import Shown
from .thread_engine import ThreadEngine
from .weights import load

PROBE = "你好, hello 123"  # two tokenizers that read it alike are taken for one


class AutoTokenizer:
    """Where `from_pretrained` is found in scripts."""

    @staticmethod
    def from_pretrained(
        path: str | Path, *, trust_remote_code: bool = False, chatglm_generation: int | None = None
    ) -> PreTrainedTokenizerBase:
        """The tokenizer in the directory `path`; raises StartError.

        Code beside it is run only if trusted, and never for a ChatGLM.
        """
        return tokenizer_at(
            Path(path),
            trust_remote_code=trust_remote_code,
            chatglm_generation=chatglm_generation,
        )


class AutoModel:
    """Where `from_pretrained` is found in scripts."""

    @staticmethod
    def from_pretrained(
        path: str | Path,
        *,
        trust_remote_code: bool = False,
        device: str = "auto",
        dtype: str | None = None,
        context_length: int | None = None,
        chatglm_generation: int | None = None,
        quantization: str | None = None,
    ) -> "ChatModel":
        """The model in the directory `path` on `device`; raises StartError. Takes its time.

        The arguments are the worker's flags of the same names.
        """
        settings = checked(
            WorkerSettings(
                model_path=str(path),
                device=device,
                dtype=dtype,
                context_length=context_length,
                trust_remote_code=trust_remote_code,
                chatglm_generation=chatglm_generation,
                quantization=quantization,
            )
        )
        card = device_named(settings.device)
        with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
            loaded = thread.submit(load, settings, card, Progress(_shown(settings))).result()
        return ChatModel(loaded, card)


class ChatModel:
    """A loaded model that chats. Every method may be called from any thread."""

    def __init__(self, loaded: LoadedModel, device: Device) -> None:
        self._engine = ThreadEngine(loaded, device)
        self._tokenizer = loaded.tokenizer
        self._generation = getattr(loaded.tokenizer, "generation", None)
        self._context = loaded.context_length
        glm = isinstance(loaded.tokenizer, ChatGLMTokenizer)
        self._manners = CHATGLM if glm else _manners(loaded)
        self.device = device.name

    def eval(self) -> Self:
        """The model itself, which is never trained here."""
        return self

    def chat(
        self,
        tokenizer: PreTrainedTokenizerBase,
        query: Query,
        history: Sequence[Any] | None = None,
        **wishes: Unpack[Wishes],
    ) -> Reply:
        """The response and the history with it; raises BadRequest and its kin, or a ServeError.

        `query` is a text, or a list of messages of which the last is to be answered.
        """
        return deque(self.stream_chat(tokenizer, query, history, **wishes), maxlen=1).pop()

    def stream_chat(
        self,
        tokenizer: PreTrainedTokenizerBase,
        query: Query,
        history: Sequence[Any] | None = None,
        **wishes: Unpack[Wishes],
    ) -> Iterator[Reply]:
        """The response as it grows, each time with the history: its text is only added to.

        Whoever stops reading stops the generation. Refused here is what `chat` refuses.
        """
        self._check(tokenizer)
        pairs = self._generation == 2
        facts = {"metadata": ""} if self._generation == 3 else {}
        talk = Talk(query, history, pairs=pairs, facts=facts)
        body = body_of(talk.messages(), wishes, self._manners, self._context)
        job = self._engine.admit(body)
        left = room(len(job.prompt_ids), total(wishes, self._manners, self._context))
        job = dataclasses.replace(job, max_new_tokens=min(job.max_new_tokens, left))
        return self._replies(job, talk)

    def running(self) -> int:
        """Answers that are being made or wait for it, of readers who are still there."""
        return self._engine.queue_length()

    def close(self) -> None:
        """End what runs; nothing can be asked any more."""
        self._engine.close()

    def _replies(self, job: Job, talk: Talk) -> Iterator[Reply]:
        box, response = ThreadOutbox(), ""
        self._engine.submit(job, box)
        try:
            for piece in box:
                response += piece.text
                if piece.text or piece.finish_reason:
                    yield talk.with_answer(response)
        finally:
            box.leave()

    def _check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer is self._tokenizer:
            return
        if tokenizer.encode(PROBE) != self._tokenizer.encode(PROBE):
            raise BadRequest(
                "the tokenizer is not this model's; load both from the same directory",
                param="tokenizer",
            )


def _shown(settings: WorkerSettings) -> Shown:
    terminal = sys.stderr if sys.stderr.isatty() else None
    return Shown(settings.names[0], terminal, tell=lambda status: None)


def _manners(loaded: LoadedModel) -> Manners:
    """What the checkpoint says of itself, else transformers' own defaults."""
    stated = getattr(loaded.model, "generation_config", None)
    said = {name: getattr(stated, name, None) for name in ("temperature", "top_p", "top_k")}
    return Manners(**{name: value for name, value in said.items() if value is not None})
