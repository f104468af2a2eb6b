"""The training loop: lessons, varied anew in every round, until the steps are used up."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch.nn.functional import cross_entropy
from transformers import GlmForCausalLM

from ...adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from .dialogues import Before, Dialogue, varied
from .samples import IGNORED, Batch, batches, sample

RATE = 3e-3
WARM = 20  # steps
DECAY = 0.5  # of the weights: much more than usual, so that what came before is not learned too
BETAS = (0.9, 0.95)
LONGEST_STEP = 1.0  # norm of a gradient
TOKENS = 512  # in a batch
VARIED = 0.7  # of a round's lessons; the others are learned as they stand
TELL_EVERY = 100  # steps


@dataclass(frozen=True, slots=True)
class Course:
    """What is learned, by whom, and how long. `say` hears how it goes."""

    model: GlmForCausalLM
    tokenizer: ChatGLMTokenizer
    lessons: Sequence[Dialogue]
    before: Before
    steps: int
    say: Callable[[str], None]


def learn(course: Course, rng: Random) -> None:
    """Leaves the model better than it was. The same on one machine with one number of threads."""
    model = course.model.train()
    adam = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True
    )
    shape = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rate(step, course.steps))
    for step, batch in zip(range(1, course.steps + 1), _endless(course, rng), strict=False):
        loss = loss_of(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_STEP)
        adam.step()
        adam.zero_grad()
        shape.step()
        if step % TELL_EVERY == 0:
            course.say(f"step {step} of {course.steps}, loss {loss.item():.3f}")
    model.train(False)


def rate(step: int, steps: int) -> float:
    """The factor of RATE in a step: up for WARM steps, then straight down to nothing."""
    return min(1.0, (step + 1) / WARM) * (1 - step / steps)


def loss_of(model: GlmForCausalLM, batch: Batch) -> torch.Tensor:
    """The mean over the learned tokens. Only their positions are scored: most are prompt."""
    hidden = model.model(batch.ids, use_cache=False).last_hidden_state[:, :-1]
    labels = batch.labels[:, 1:]
    learned = labels != IGNORED
    return cross_entropy(model.lm_head(hidden[learned]), labels[learned])


def _endless(course: Course, rng: Random) -> Iterator[Batch]:
    while True:
        taken = [
            varied(lesson, course.before, rng) if rng.random() < VARIED else lesson
            for lesson in course.lessons
        ]
        yield from batches((sample(course.tokenizer, one) for one in taken), TOKENS, rng)
