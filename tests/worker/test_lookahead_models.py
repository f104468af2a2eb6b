"""Guesses from the start on: a flag, a card's shapes, and a model that knows how to repeat."""

from pathlib import Path
from typing import Any

import pytest
from support.card import card, loading
from support.devices import FakeDevice
from support.stage import guessing_on_a_card, ticking
from support.tiny import random_model, tiny_config, tiny_loaded
from support.tries import Tries
from transformers import BloomConfig

from danlu.adapters.errors import StartError
from danlu.adapters.models.loading import load_model
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.worker.batching_engine import BatchingEngine
from danlu.worker.engine import Engine
from danlu.worker.hosted import Manner
from danlu.worker.job import Job, Piece
from danlu.worker.kv_room import Room
from danlu.worker.loading import Progress
from danlu.worker.local_engines import engine_for
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.settings import WorkerSettings
from danlu.worker.suitability import fitted

pytestmark = pytest.mark.slow
# A model of random weights that may say three words only repeats itself soon.
THREE_WORDS: dict[str, Any] = {
    "temperature": 0.0,
    "logit_bias": {str(token): 50.0 for token in (7, 8, 9)},
    "max_new_tokens": 60,
    "ignore_eos": True,
    "echo": False,
}
QUOTE = "The furnace is fired up at five. The baker comes at six, and the first guest at seven."


@pytest.fixture
def tries(caplog: pytest.LogCaptureFixture) -> Tries:
    return Tries(caplog)


def answered(engine: Engine[Job], *bodies: GenerateBody) -> list[list[Piece]]:
    """All at the same time."""
    boxes = [ThreadOutbox() for _ in bodies]
    for box, body in zip(boxes, bodies, strict=True):
        engine.submit(engine.admit(body), box)
    return [list(box) for box in boxes]


def test_a_card_has_prepared_the_shapes_of_guesses_before_anybody_waits(tries: Tries) -> None:
    """The tokens of a step, and the rows of logits among them."""
    model = random_model(tiny_config())
    seen = set[tuple[int, int]]()

    def note(module: object, args: object, kwargs: dict[str, Any]) -> None:
        if "logits_to_keep" in kwargs:  # in no trial of the model beforehand
            seen.add((kwargs["input_ids"].shape[1], len(kwargs["logits_to_keep"])))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    engine = guessing_on_a_card(model, FakeDevice(), Manner(concurrency=4))
    prepared = set(seen)
    seen.clear()
    for together in (1, 2, 4):
        prompts = [[7, 8] * (together + number) for number in range(together)]
        answered(engine, *[GenerateBody(**THREE_WORDS, prompt_token_ids=p) for p in prompts])
    hook.remove()
    engine.close()
    assert tries.right > 20
    with_guesses = {(tokens, rows) for tokens, rows in seen if rows > 8}
    assert with_guesses and with_guesses <= prepared
    assert {tokens for tokens, _ in seen} <= {tokens for tokens, _ in prepared}


def test_the_flag_reaches_a_model_that_is_batched_and_is_refused_for_another_one(
    tries: Tries,
) -> None:
    settings = WorkerSettings(model_path="m", kv_memory=0.01, prompt_lookup_num_tokens=4)
    alone = WorkerSettings(model_path="m", prompt_lookup_num_tokens=4)
    config = BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=4)
    other = tiny_loaded(model=random_model(config))
    with pytest.raises(StartError, match="^--prompt-lookup-num-tokens 4 is for models that can be"):
        loading(lambda: engine_for(other, FakeDevice(), alone, Progress()))
    loaded = tiny_loaded(model=random_model(tiny_config()))
    engine = loading(lambda: engine_for(loaded, FakeDevice(), settings, Progress()))
    assert isinstance(engine, BatchingEngine)
    answered(engine, GenerateBody(**THREE_WORDS, prompt_token_ids=[7, 8] * 9))
    engine.close()
    assert tries.right > 0


def test_a_real_model_says_the_same_with_guesses(smollm2_dir: Path, tries: Tries) -> None:
    """In float32: shorter formats leave open which of two tokens is a little more likely."""
    questions = (f"Repeat this text word by word: {QUOTE}", "Write a haiku about 12 cats.")
    hows: list[dict[str, Any]] = [{"temperature": 0.0}, {"temperature": 0.8, "seed": 4}]
    bodies = [
        GenerateBody(
            messages=[Message(role="user", content=question)], max_new_tokens=40, echo=False, **how
        )
        for question in questions
        for how in hows
    ]
    loaded = loading(lambda: load_model(smollm2_dir, card(), dtype="float32"))
    fit = loading(lambda: fitted(loaded.model, 256))
    found = []
    for lookahead in (0, 8):
        manner = Manner(lookahead=lookahead)
        engine = BatchingEngine(loaded, FakeDevice(), fit, Room(5, 256, 4), manner, clock=ticking())
        found.append(answered(engine, *bodies))
        engine.close()
    assert found[0] == found[1]
    assert tries.right > 10
