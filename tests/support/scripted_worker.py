"""A stock FastChat worker whose engine follows a script; run by FastChat's own Python.

Everything but the engine is stock: registration, heart-beats, semaphore, routes. Words in the
prompt change the script: BOOM is an error, REPEAT answers with the parameters as they came, DIE
ends the process after two frames, SLOW waits between frames. It knows nothing of danlu.
"""

import argparse
import base64
import json
import os
import struct
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastchat.constants import SERVER_ERROR_MSG, ErrorCode
from fastchat.conversation import Conversation, get_conv_template
from fastchat.serve import base_model_worker

from .script import ANSWER, CONTEXT, PAUSE, PREFIX, TEXTS, VECTOR


class ScriptedWorker(base_model_worker.BaseModelWorker):  # type: ignore[misc] # untyped
    """Only the engine is ours; a token is a character, and every prompt has two more in front."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(
            flags.controller_address,
            flags.worker_address,
            "scripted",
            flags.model_names,
            flags.model_names.split(","),
            flags.limit_worker_concurrency,
            conv_template=flags.conv_template,
        )
        self.tokenizer = lambda text: SimpleNamespace(input_ids=[0] * (len(text) + PREFIX))
        self.context_len = CONTEXT

    def make_conv_template(self, conv_template: str, model_path: str) -> Conversation:
        return get_conv_template(conv_template)  # without the model adapters: they load torch

    def generate_stream_gate(self, params: dict[str, Any]) -> Iterator[bytes]:
        prompt = params["prompt"]
        if "BOOM" in prompt:
            text = f"{SERVER_ERROR_MSG}\n\n(kaboom)"
            cause = {"text": text, "error_code": int(ErrorCode.INTERNAL_ERROR)}
            yield json.dumps(cause).encode() + b"\0"
            return
        answer = json.dumps(params) if "REPEAT" in prompt else ANSWER
        texts = [answer] if "REPEAT" in prompt else [*TEXTS, ANSWER]
        for count, text in enumerate(texts, 1):
            if "DIE" in prompt and count == 3:
                os._exit(1)
            yield frame(text, len(prompt) + PREFIX, count, None)
            time.sleep(PAUSE if "SLOW" in prompt else 0)
        yield frame(answer, len(prompt) + PREFIX, len(texts), "stop")

    def generate_gate(self, params: dict[str, Any]) -> Any:
        *_, last = self.generate_stream_gate(params)
        return json.loads(last[:-1])

    def get_embeddings(self, params: dict[str, Any]) -> dict[str, Any]:
        packed = base64.b64encode(struct.pack("<2f", *VECTOR)).decode()
        one = packed if params.get("encoding_format") == "base64" else list(VECTOR)
        texts = params["input"]
        return {"embedding": [one for _ in texts], "token_num": sum(len(t) + PREFIX for t in texts)}


def frame(text: str, prompt: int, completion: int, reason: str | None) -> bytes:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    body = {"text": text, "error_code": 0, "usage": usage, "finish_reason": reason}
    return json.dumps(body).encode() + b"\0"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--worker-address", required=True)
    parser.add_argument("--controller-address", required=True)
    parser.add_argument("--model-names", required=True)
    parser.add_argument("--conv-template", default="chatglm2")
    parser.add_argument("--limit-worker-concurrency", type=int, default=5)
    flags = parser.parse_args()
    ScriptedWorker(flags).init_heart_beat()
    uvicorn.run(base_model_worker.app, host=flags.host, port=flags.port, log_level="warning")


if __name__ == "__main__":
    main()
