"""Which of the answers to a prompt are told, and what they have in common. Pure."""

from collections.abc import Sequence

from ...adapters.errors import BadRequest
from ...adapters.wire.openai_answers import Choice


def told(choices: Sequence[Choice], count: int, made: int) -> list[Choice]:
    """The `count` best of each prompt's `made` answers, the best first, and numbered anew.

    The best is the one whose tokens are the most probable on average, as at OpenAI. All of them
    are told in their order if none is left out. Raises BadRequest if nothing tells them apart.
    """
    prompts = [choices[i : i + made] for i in range(0, len(choices), made)]
    for same in prompts:
        for choice in same:  # the worker was asked for them once a prompt
            choice.prompt_logprobs = same[0].prompt_logprobs
    if count == made:
        return list(choices)
    best = [c for same in prompts for c in sorted(same, key=likelihood, reverse=True)[:count]]
    for index, choice in enumerate(best):
        choice.index = index
    return best


def likelihood(choice: Choice) -> float:
    """The mean log-probability of the answer's tokens; an answer without any comes last."""
    if choice.logprobs is None and choice.text:
        raise BadRequest(
            "the worker gives no log-probabilities, by which 'best_of' chooses; leave it out",
            param="best_of",
        )
    values = choice.answer_logprobs
    return sum(values) / len(values) if values else float("-inf")
