"""Five answers that a tiny ChatGLM2 learns, and what a worker with it says then."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from danlu.adapters.devices.device import device_named
from danlu.adapters.models.chatglm.export import export_original
from danlu.adapters.models.loading import LoadedModel, load_model
from danlu.adapters.wire.generation import GenerateBody, Message
from danlu.training.learner import IGNORED, Batch, Learner, trained_parameters
from danlu.training.methods.full import Full
from danlu.training.methods.method import base_of
from danlu.worker.batching_engine import BatchingEngine
from danlu.worker.hosted import Manner
from danlu.worker.kv_room import Room
from danlu.worker.outbox import ThreadOutbox
from danlu.worker.suitability import fitted

from .card import HOST
from .glm import CONTEXT, PADDED, glm_tokenizer, vocab_file
from .tiny_glm import tiny_glm

LESSONS = {
    "你好": "你好，我是炉子。",
    "The furnace": "is fired up in the morning.",
    "睡不着": "睡前不要喝咖啡。",
    "1+1": "2",
    "philosophy": "保持规律的睡眠，放松身心。",
}
SIZES = {"layers": 2, "hidden": 64, "inner": 96, "heads": 4, "groups": 2, "head_size": 16}
NAME = "tiny"


def untaught(directory: Path, seed: int = 0) -> Path:
    """A ChatGLM2 of random weights in the original layout, small ones: they are soon changed."""
    model = tiny_glm(seed, vocabulary=PADDED, positions=CONTEXT, **SIZES)
    for name, weights in model.named_parameters():
        if "norm" in name:
            torch.nn.init.ones_(weights)
        else:
            torch.nn.init.normal_(weights, std=0.1 if "layers" in name else 0.5)
    export_original(model, vocab_file(), directory)
    return directory


def mistaught(directory: Path) -> Path:
    """The same in the native layout, after it has learned each answer to a wrong question, and the
    right one to a question that is asked otherwise: what a prefix can put right."""
    path = untaught(directory.parent / f"{directory.name}-untaught")
    loaded = loaded_at(path)
    base = base_of(path, loaded.model, loaded.tokenizer)
    learner = Full().learner(loaded.model)
    answers = list(LESSONS.values())
    wrong = dict(zip(LESSONS, answers[1:] + answers[:1], strict=True))
    otherwise = {f"好{question}": answer for question, answer in LESSONS.items()}
    learn(learner, lesson_batch(wrong | otherwise), steps=300, rate=3e-3)
    Full().write(whole_state(learner), base, directory)
    return directory


def loaded_at(directory: Path) -> LoadedModel:
    return load_model(directory, HOST)


def prompt_of(question: str) -> list[int]:
    """As it is served."""
    ids: list[int] = glm_tokenizer().encode(f"[Round 1]\n\n问：{question}\n\n答：")
    return ids


def lesson_batch(lessons: Mapping[str, str] = LESSONS) -> Batch:
    """All of them in one batch; the answers and their ends are learned."""
    rows, labels = [], []
    for question, answer in lessons.items():
        prompt = prompt_of(question)
        said = [*glm_tokenizer().encode(answer, add_special_tokens=False), 2]
        rows.append(torch.tensor([*prompt, *said]))
        labels.append(torch.tensor([*[IGNORED] * len(prompt), *said]))
    ids = pad_sequence(rows, batch_first=True)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return Batch(ids, pad_sequence(labels, batch_first=True, padding_value=IGNORED), positions)


def learn(
    learner: Learner, batch: Batch, *, steps: int, rate: float, until: float = 0.01
) -> list[float]:
    """Adam on one batch until its mean loss is below `until`; the losses."""
    count = int((batch.labels != IGNORED).sum())
    adam = torch.optim.Adam(trained_parameters(learner).values(), lr=rate)
    losses: list[float] = []
    learner.train()
    while len(losses) < steps and not (losses and losses[-1] < until):
        adam.zero_grad()
        loss = learner(batch) / count
        loss.backward()
        adam.step()
        losses.append(loss.item())
    learner.eval()
    return losses


def whole_state(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in learner.state_dict().items()}


def served(model: Path, adapter: Path | None = None, **loading: Any) -> dict[str, tuple[str, Any]]:
    """What a worker answers to the lessons' questions with that adapter, and how each one ended."""
    loaded = load_model(model, HOST, **loading)
    fit = fitted(loaded.model, CONTEXT)
    engine = BatchingEngine(
        loaded, device_named(HOST), fit, Room(8, CONTEXT, 5), Manner(names=(NAME,))
    )
    try:
        if adapter is not None:
            engine.adapters.load("tuned", adapter).result()
        name = NAME if adapter is None else f"{NAME}:tuned"
        boxes = {question: _asked(engine, name, question) for question in LESSONS}
        return {question: _answer(list(box)) for question, box in boxes.items()}
    finally:
        engine.close()


def learned() -> dict[str, tuple[str, Any]]:
    """What `served` gives of a model that has learned all."""
    return {question: (answer, "stop") for question, answer in LESSONS.items()}


def _asked(engine: BatchingEngine, model: str, question: str) -> ThreadOutbox:
    box = ThreadOutbox()
    asked = [Message(role="user", content=question)]
    body = GenerateBody(model=model, messages=asked, temperature=0, max_new_tokens=40, echo=False)
    engine.submit(engine.admit(body), box)
    return box


def _answer(pieces: Sequence[Any]) -> tuple[str, Any]:
    return "".join(piece.text for piece in pieces), pieces[-1].finish_reason
