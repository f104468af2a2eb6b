"""danlu.worker itself with a real model, its engine included: it speaks, stops, and ends."""

from pathlib import Path

import httpx
import pytest
from support.card import card
from support.processes import Program, free_port
from support.workers import frames_in

pytestmark = pytest.mark.slow

STREAM = "/worker_generate_stream"


def test_a_real_model_speaks(smollm2_dir: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = ("--host", "127.0.0.1", "--port", str(port), "--no-register", "--device", card())
    question = {"role": "user", "content": "What is the capital of France?"}
    body = {"messages": [question], "temperature": 0, "max_new_tokens": 12, "echo": False}
    # On a card every shape is run before it is ready: few of them will do.
    small = ("--context-length", "128", "--limit-worker-concurrency", "2")
    with Program.ours("danlu.worker", "--model-path", str(smollm2_dir), *flags, *small) as program:
        program.wait_until_answers(url + "/health")
        program.wait_until_answers(url + "/ready")
        raw = httpx.post(url + STREAM, json=body, timeout=60, trust_env=False).content
        texts = [frame["text"] for frame in frames_in(raw)]
        assert "Paris" in texts[-1]
        assert all(b.startswith(a) for a, b in zip(texts, texts[1:], strict=False))
        endless = {**body, "ignore_eos": True, "max_new_tokens": 4000}
        with httpx.stream(
            "POST", url + STREAM, json=endless, timeout=60, trust_env=False
        ) as answer:
            next(answer.iter_bytes())
        status = url + "/worker_get_status"
        program.wait_until(
            lambda: httpx.post(status, trust_env=False).json()["queue_length"] == 0, "it stops"
        )
        assert program.stop() == 0
