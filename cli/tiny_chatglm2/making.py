"""Makes the tiny ChatGLM2: its vocabulary, its training, its examination, its directory."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import torch

from ...adapters.errors import StartError
from ...adapters.models.chatglm.export import export_original
from ...adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from .dialogues import Before, Dialogue, dialogues, lessons
from .examination import failed
from .network import network
from .samples import sample
from .training import Course, learn
from .vocabulary import vocabulary

SEED = 0
STEPS = 800
COURSES = 3  # one is enough where this was tried; arithmetic differs from machine to machine
THREADS = 1  # batches are small: a second thread gains little, and loses much on a busy machine


def make(
    out: Path,
    taught: Sequence[Dialogue] | None = None,
    *,
    say: Callable[[str], None],
    steps: int = STEPS,
    courses: int = COURSES,
) -> None:
    """Write to `out` a ChatGLM2 that answers as in `taught`, by default all dialogues here.

    Raises StartError if it has not learned them after all courses, and writes nothing then.
    """
    known = dialogues()
    torch.set_num_threads(THREADS)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as making:
        words = Path(making) / "tokenizer.model"
        words.write_bytes(vocabulary(known))
        tokenizer = ChatGLMTokenizer(words)
        course = Course(
            model=network(len(tokenizer), SEED),
            tokenizer=tokenizer,
            lessons=lessons(known if taught is None else taught),
            before=Before.of(known),
            steps=steps,
            say=say,
        )
        _until_known(course, courses)
        export_original(course.model, words, out, generation=2)
    say(f"{len(course.lessons)} answers are known by heart, after {time.monotonic() - begun:.0f} s")


def _until_known(course: Course, courses: int) -> None:
    exam = [sample(course.tokenizer, lesson) for lesson in course.lessons]
    rng = Random(SEED)
    for _ in range(courses):
        learn(course, rng)
        wrong = failed(course.model, exam)
        if not wrong:
            return
        course.say(f"{len(wrong)} of {len(exam)} answers are not known by heart yet")
    raise StartError(
        f"after {courses} courses of {course.steps} steps {len(wrong)} of {len(exam)} answers "
        f"are not known by heart, the first: {_answer(course, wrong[0].answer)!r}"
    )


def _answer(course: Course, ids: Sequence[int]) -> str:
    return str(course.tokenizer.decode(list(ids)))
