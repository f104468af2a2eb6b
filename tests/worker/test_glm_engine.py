"""A ChatGLM model behind the engine: vectors, counts, and what the outside is told."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.devices import FakeDevice
from support.glm import glm_loaded, glm_model, glm_tokenizer
from torch import Tensor

from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.job import Piece
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.thread_engine import ThreadEngine

pytestmark = pytest.mark.slow

TEXTS = ["你好", "The furnace is fired up in the morning. " * 3, "丹炉是一座炉子。", "x"]


@pytest.fixture
def engine() -> Iterator[ThreadEngine]:
    serving = ThreadEngine(glm_loaded(), FakeDevice())
    yield serving
    serving.close()


def vectors(engine: ThreadEngine, texts: list[str]) -> list[list[float]]:
    return engine.embed(texts).result(timeout=60).vectors


def answer(engine: ThreadEngine, **fields: Any) -> list[Piece]:
    box = ThreadOutbox()
    engine.submit(engine.admit(GenerateBody(echo=False, **fields)), box)
    return list(box)


def hidden(**inputs: Tensor) -> Tensor:
    """The last hidden states [batch, tokens, width]."""
    body: Any = glm_model().base_model
    with torch.inference_mode():
        states: Tensor = body(**inputs, use_cache=False).last_hidden_state
    return states


def test_a_texts_vector_is_its_own_whatever_else_is_in_the_batch(engine: ThreadEngine) -> None:
    alone = [vectors(engine, [text])[0] for text in TEXTS]
    assert vectors(engine, TEXTS) == alone
    assert vectors(engine, TEXTS[::-1]) == alone[::-1]


def test_a_vector_is_the_mean_of_prefix_and_text(engine: ThreadEngine) -> None:
    ids = torch.tensor([glm_tokenizer().encode(TEXTS[0])])
    assert ids[0, :2].tolist() == glm_tokenizer().prefix
    mean = torch.nn.functional.normalize(hidden(input_ids=ids)[0].mean(0), dim=-1)
    assert torch.allclose(torch.tensor(vectors(engine, TEXTS[:1])[0]), mean, atol=1e-6)


def test_padding_on_the_left_changes_no_texts_states() -> None:
    """With the mask and the positions that the tokenizer gives, and not without them."""
    batch = glm_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    states = hidden(**batch)
    unaware = hidden(input_ids=batch["input_ids"])
    for row, text in enumerate(TEXTS):
        alone = hidden(input_ids=torch.tensor([glm_tokenizer().encode(text)]))[0]
        assert torch.allclose(states[row, -len(alone) :], alone, atol=1e-5)
        padded = len(alone) < states.shape[1]
        assert torch.allclose(unaware[row, -len(alone) :], alone, atol=1e-3) is not padded


def test_a_conversation_is_answered_and_a_prompt_continued(engine: ThreadEngine) -> None:
    """The same ids asked both ways; only the conversation's answer is finished."""
    wish: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 20}
    said = answer(engine, messages=[{"role": "user", "content": "你好"}], **wish)
    ids = glm_tokenizer().encode("[Round 1]\n\n问：你好\n\n答：")
    raw = answer(engine, prompt_token_ids=ids, **wish)
    spoken, text = ("".join(piece.text for piece in pieces) for pieces in (said, raw))
    assert spoken == text.strip()
    assert said[-1].usage == raw[-1].usage


def test_what_is_sampled_beyond_the_vocabulary_has_no_text(engine: ThreadEngine) -> None:
    beyond = len(glm_tokenizer()) + 1
    wish = {"logit_bias": {str(beyond): 100.0}, "max_new_tokens": 5, "temperature": 0.0}
    pieces = answer(engine, messages=[{"role": "user", "content": "a"}], logprobs=1, **wish)
    assert "".join(piece.text for piece in pieces) == ""
    assert pieces[-1].usage.completion_tokens == 5


def test_the_outside_is_told_the_familys_template(engine: ThreadEngine) -> None:
    assert engine.card.conversation["name"] == "chatglm2"
    assert engine.count("你好") == len(glm_tokenizer().encode("你好"))
    assert engine.count("") == 0


@pytest.mark.anyio
async def test_a_script_may_read_where_an_event_loop_runs(engine: ThreadEngine) -> None:
    wish: dict[str, Any] = {"max_new_tokens": 3}
    pieces = answer(engine, messages=[{"role": "user", "content": "a"}], **wish)
    assert pieces[-1].finish_reason
    assert asyncio.get_running_loop().is_running()
