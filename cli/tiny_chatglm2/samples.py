"""Lessons as token ids and labels, in ChatGLM2's form for fine-tuning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import torch

from ...adapters.models.chatglm.rounds import Turn, conversation
from ...adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from .dialogues import Dialogue

END = 2  # </s>
PAD = 0  # <unk>
IGNORED = -100  # a label that is not learned
ROLES = ("user", "assistant")  # of an exchange


@dataclass(frozen=True, slots=True)
class Sample:
    """`prompt` and `answer` are encoded separately; the answer ends with END."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in rows, padded on the right: int64 [rows, longest], labels as for the loss."""

    ids: torch.Tensor
    labels: torch.Tensor


def sample(tokenizer: ChatGLMTokenizer, lesson: Dialogue) -> Sample:
    *earlier, (question, answer) = lesson
    turns = [Turn(role, text) for said in earlier for role, text in zip(ROLES, said, strict=True)]
    prompt = tokenizer.ids_of(conversation([*turns, Turn("user", question)]))
    return Sample(tuple(prompt), (*tokenizer.encode(answer, add_special_tokens=False), END))


def batches(samples: Iterable[Sample], tokens: int, rng: Random) -> list[Batch]:
    """All samples, those of similar length together, at most `tokens` a batch, in any order."""
    rows: list[Sample] = []
    found: list[Batch] = []
    for one in sorted(samples, key=len):
        if rows and len(one) * (len(rows) + 1) > tokens:
            found.append(batch(rows))
            rows = []
        rows.append(one)
    found.append(batch(rows))
    rng.shuffle(found)
    return found


def batch(rows: Sequence[Sample]) -> Batch:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), PAD)
    labels = torch.full((len(rows), longest), IGNORED)
    for row, one in enumerate(rows):
        ids[row, : len(one)] = torch.tensor(one.prompt + one.answer)
        labels[row, len(one.prompt) : len(one)] = torch.tensor(one.answer)
    return Batch(ids, labels)
