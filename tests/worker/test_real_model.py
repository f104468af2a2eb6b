"""The engine on a real chat model: what a user gets, and that nothing is lost on the way there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.card import card, loading

from danlu.adapters.devices.device import device_named
from danlu.adapters.models.loading import LoadedModel, load_model
from danlu.adapters.wire.conversation import render
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.worker.job import Piece
from danlu.worker.outbox import Outbox
from danlu.worker.thread_engine import ThreadEngine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

QUESTIONS = ("What is the capital of France?", "Write a haiku about 12 cats. 🐈", "你好！")


@pytest.fixture(scope="module")
def loaded(smollm2_dir: Path) -> LoadedModel:
    return loading(lambda: load_model(smollm2_dir, card()))


@pytest.fixture
async def engine(loaded: LoadedModel) -> AsyncIterator[ThreadEngine]:
    engine = ThreadEngine(loaded, device_named(card()))
    yield engine
    engine.close()


async def answer(engine: ThreadEngine, **fields: Any) -> list[Piece]:
    box = Outbox(asyncio.get_running_loop())
    engine.submit(engine.admit(GenerateBody(echo=False, **fields)), box)
    return [piece async for piece in box]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def said(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


async def test_it_knows_the_capital_of_france(engine: ThreadEngine) -> None:
    pieces = await answer(engine, messages=said(QUESTIONS[0]), temperature=0.0)
    assert text(pieces) == "The capital of France is Paris."
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].usage.completion_tokens == 8  # the end token counts


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("question", QUESTIONS)
async def test_greedy_is_generate_token_for_token(
    engine: ThreadEngine, loaded: LoadedModel, question: str
) -> None:
    tokenizer: Any = loaded.tokenizer
    generate: Any = loaded.model.generate
    prompt: Any = tokenizer.apply_chat_template(
        said(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        ids: Any = generate(**prompt.to(card()), max_new_tokens=40, do_sample=False)
    new = ids[0, prompt["input_ids"].shape[1] :].tolist()
    pieces = await answer(engine, messages=said(question), temperature=0.0, max_new_tokens=40)
    assert text(pieces) == tokenizer.decode(new, skip_special_tokens=True)
    assert pieces[-1].usage.completion_tokens == len(new)


async def test_fastchats_prompt_and_ours_are_one(engine: ThreadEngine) -> None:
    """A stock API server writes the template that we tell it; a danlu one sends messages."""
    assert engine.card.conversation["name"] == "orca-2"
    assert "SmolLM" in engine.card.conversation["system_message"]
    prompt = render(engine.card.conversation, [Message(role="user", content=QUESTIONS[0])]).text
    ours = engine.admit(GenerateBody(messages=[Message(role="user", content=QUESTIONS[0])]))
    assert engine.admit(GenerateBody(prompt=prompt)).prompt_ids == ours.prompt_ids


async def test_the_same_seed_says_the_same_whatever_else_runs(engine: ThreadEngine) -> None:
    fields: dict[str, Any] = {"messages": said(QUESTIONS[1]), "max_new_tokens": 12}
    alone = [text(await answer(engine, seed=seed, **fields)) for seed in range(3)]
    together = await asyncio.gather(*[answer(engine, seed=seed, **fields) for seed in range(3)])
    assert [text(pieces) for pieces in together] == alone
    assert len(set(alone)) == 3


async def test_like_texts_have_like_vectors(engine: ThreadEngine) -> None:
    texts = ["A dog runs in the park.", "A puppy is running outside.", "def f(x): return x ** 2"]
    found = await asyncio.wrap_future(engine.embed(texts))
    dog, puppy, code = (torch.tensor(vector) for vector in found.vectors)
    assert float(dog @ puppy) > float(dog @ code)
