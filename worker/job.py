"""One generation as the engine takes it: checked at the door, trusted behind it. Pure values."""

from dataclasses import dataclass
from typing import Literal

from ..adapters.wire.generation import Logprobs, PromptLogprobs, Usage
from .adapter import BASE, Adapter

FinishReason = Literal["stop", "length"]

GREEDY_BELOW = 1e-5  # a temperature under this takes the most probable token, as in FastChat


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; every value legal, every `off` explicit.

    temperature 0 is greedy, top_k 0 is off, top_p 1 and min_p 0 are off, penalties 0 (or 1 for
    repetition) are off. `logit_bias` is added to the logits of those token ids. `seed` None draws
    one.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt as token ids, and what ends the answer to it.

    `stop` texts end the answer and are not part of it; `stop_ids` are the token ids that do, the
    model's own end tokens among them unless they are to be ignored. `max_new_tokens` fits the
    context. `logprobs` is the number of alternatives a position, None for no log-probabilities;
    `prompt_logprobs` is the same for the prompt's own tokens. Of those who wait the lowest
    `priority` is served first. `echo` is the text to put before the answer, empty for none. An
    answer that `continues` its prompt keeps the space that its first word begins with. One that is
    `finished` gets the finish that ChatGLM2 gives an answer in a conversation. `grammar` is what
    the answer follows, checked, None for any text; an answer that follows one ends with it.
    `adapter` is what the model is tuned with.
    """

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    priority: int = 0
    echo: str = ""
    continues: bool = False
    finished: bool = False
    grammar: str | None = None
    adapter: Adapter = BASE

    @property
    def quoted(self) -> bool:
        """Whether the echo shows what the model made of the prompt."""
        return self.logprobs is not None and self.echo != ""

    @property
    def scored(self) -> int | None:
        """Alternatives that are wanted in each place of the prompt; None where nobody asks what
        the model made of it."""
        wanted = [self.logprobs if self.quoted else None, self.prompt_logprobs]
        return max((number for number in wanted if number is not None), default=None)


@dataclass(frozen=True, slots=True)
class Piece:
    """What became certain in one step: new text only, never text that can still change.

    `usage` counts the whole sequence so far, `logprobs` the tokens of this piece. The last piece
    has the finish_reason, the first one the `prompt_logprobs`.
    """

    text: str
    usage: Usage
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None
    prompt_logprobs: PromptLogprobs | None = None
