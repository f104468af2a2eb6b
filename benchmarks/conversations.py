"""Samples to train on whose lengths are spread like those of written instructions. Pure."""

import numpy as np

from danlu.training.sample import Sample

from .models import END

# Median tokens, and the spread of their logarithm, as in collections like Evol-Instruct: most are
# short, few are many times as long.
PROMPT, ANSWER = (60, 0.75), (120, 0.75)
FIRST = END + 1  # word
OTHERS = 1_000_000  # the seed of samples that nobody learns


def conversations(count: int, seed: int, *, words: int, longest: int) -> list[Sample]:
    """One prompt and one answer each, which alone is learned, and its end token with it.

    Ids below `words`, the lower the more often, so that there is something to learn. What is longer
    than `longest` tokens loses its beginning.
    """
    chance = np.random.default_rng([seed, count])
    often = 1.0 / np.arange(1, words - FIRST + 1)
    often /= often.sum()

    def text(median: int, spread: float) -> list[int]:
        size = max(1, round(chance.lognormal(np.log(median), spread)))
        found: list[int] = (FIRST + chance.choice(len(often), size, p=often)).tolist()
        return found

    return [_sample(text(*PROMPT), [*text(*ANSWER), END], longest) for _ in range(count)]


def _sample(prompt: list[int], answer: list[int], longest: int) -> Sample:
    ids = np.array([*prompt, *answer], dtype=np.int32)[-longest:]
    trained = (np.arange(len(prompt) + len(answer)) >= len(prompt))[-longest:]
    trained[0] = False  # it has nothing before it to be told from
    return Sample(ids, trained)
