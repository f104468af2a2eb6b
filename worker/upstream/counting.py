"""How many tokens a prompt has: the question to ask an upstream, and what to take without. Pure."""

from typing import Any

from ...adapters.errors import PromptTooLong, ServeError
from .asking import UpstreamJob
from .dialects import Counting

BYTES = 3  # of a text to a token, where nobody counts; English has about 4, Chinese 4 to 5


def question(
    prompt: dict[str, Any], model: str, way: Counting | None
) -> tuple[str, dict[str, Any]] | None:
    """The server's path and body that ask for the tokens of a `prompt` or of `messages`.

    None where it cannot be asked. Only vLLM counts messages.
    """
    text = prompt.get("prompt")
    if way == "tokenize" and text is None:
        asked = {"messages": prompt["messages"], "add_generation_prompt": True}
        return "/tokenize", {"model": model, **asked}
    if way is None or not isinstance(text, str):
        return None
    whole = ("/tokenize", {"model": model, "prompt": text, "add_special_tokens": True})
    bodies: dict[Counting, tuple[str, dict[str, Any]]] = {
        "tokenize": whole,
        "tokenize text": whole,
        "content": ("/tokenize", {"content": text, "add_special": True}),
        "input": ("/extras/tokenize/count", {"input": text}),
        "check": (
            "/api/v1/token_check",
            {"prompts": [{"model": model, "prompt": text, "max_tokens": 0}]},
        ),
    }
    return bodies[way]


def tokens_in(answer: Any) -> int:
    """The number in an answer to the question, whichever form it has."""
    try:
        if "prompts" in answer:
            return int(answer["prompts"][0]["tokenCount"])
        return int(answer["count"]) if "count" in answer else len(answer["tokens"])
    except (IndexError, KeyError, TypeError, ValueError) as exc:
        raise ServeError("the upstream's count of tokens cannot be read") from exc


def estimate(text: str) -> int:
    """Where nobody counts: rather too many, so that an answer's limit fits the context."""
    return -(-len(text.encode()) // BYTES)


def guess(job: UpstreamJob) -> int:
    """The tokens of a job's prompt, where nobody counted them."""
    if job.chat:
        return sum(estimate(turn["content"]) for turn in job.body["messages"])
    prompt = job.body["prompt"]
    return estimate(prompt) if isinstance(prompt, str) else len(prompt)


def room_for(job: UpstreamJob, count: int | None, context: int) -> int:
    """The most new tokens that a job may have; raises PromptTooLong if there are none.

    A chat that nobody counts is the upstream's to judge. Of a prompt that nobody counts, the
    estimate is taken, and at least one token asked for.
    """
    if count is None and job.chat:
        return job.max_new_tokens
    if count is None:
        return max(1, min(job.max_new_tokens, context - guess(job)))
    if count >= context:
        raise PromptTooLong(
            f"This model's maximum context length is {context} tokens. However, your messages "
            f"resulted in {count} tokens. Please reduce the length of the messages."
        )
    return min(job.max_new_tokens, context - count)
