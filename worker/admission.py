"""Checks a generation body against the model and makes it a job. Does no work on the device."""

from collections.abc import Callable, Iterable

from ..adapters.errors import BadRequest, OutOfRange, PromptTooLong
from ..adapters.wire.generation import GenerateBody
from .adapter import BASE, Adapter
from .grammar import FIELD, Grammars
from .job import Job, Sampling
from .prompting import Asked, Prompting

# Every field: what the engine cannot do, the body's own types refuse (best_of 2, beams, images).
HONOURED = frozenset(GenerateBody.model_fields)
PRIORITY = "priority"


def only_the_model(name: str | None) -> Adapter:
    """Where there are no adapters; the routes have looked at the name already."""
    return BASE


class Admission:
    """The door: behind it only legal values. Read by any thread."""

    def __init__(
        self,
        prompting: Prompting,
        grammars: Grammars,
        *,
        context_length: int,
        vocabulary: int,
        end_ids: frozenset[int],
        seed: int | None = None,
        adapter: Callable[[str | None], Adapter] = only_the_model,
        ordered: bool = True,
    ) -> None:
        """`ordered` says that the engine serves those who wait by their priority."""
        self._prompting = prompting
        self._grammars = grammars
        self._context = context_length
        self._vocabulary = vocabulary
        self._ends = end_ids
        self._seed = seed
        self._adapter = adapter
        self._ordered = ordered

    def admit(self, body: GenerateBody) -> Job:
        """The job that `body` asks for; raises BadRequest and its kin."""
        self._check_ids("prompt_token_ids", body.prompt_token_ids or ())
        self._check_ids("logit_bias", map(int, body.logit_bias or ()))
        if body.min_tokens > body.max_new_tokens:
            raise OutOfRange(
                f"{body.min_tokens} is greater than 'max_new_tokens', {body.max_new_tokens}"
                " - 'min_tokens'",
                param="min_tokens",
            )
        if body.priority and not self._ordered:
            raise BadRequest(
                f"'{PRIORITY}' is not supported by this worker's engine, which takes requests as"
                " they come; leave it out",
                param=PRIORITY,
            )
        adapter = self._adapter(body.model)
        asked = self._prompting.ask(body, taken=adapter.entries)
        room = self._room(len(asked.ids), self._context - adapter.entries)
        grammar = self._grammar(body, asked)
        return Job(
            prompt_ids=asked.ids,
            max_new_tokens=min(body.max_new_tokens, room),
            sampling=self._sampling(body),
            stop=_texts(body.stop) + (() if body.ignore_eos else asked.stop),
            stop_ids=self._stop_ids(body, asked),
            min_tokens=body.min_tokens,
            logprobs=body.logprobs,
            prompt_logprobs=body.prompt_logprobs,
            priority=body.priority,
            echo=asked.text if body.echo else "",
            continues=asked.continues,
            finished=asked.finished and grammar is None,
            grammar=grammar,
            adapter=adapter,
        )

    def _room(self, taken: int, context: int) -> int:
        """Tokens that are left for the answer; the sentence is FastChat's."""
        if taken >= context:
            raise PromptTooLong(
                f"This model's maximum context length is {context} tokens. However, your "
                f"messages resulted in {taken} tokens. Please reduce the length of the messages."
            )
        return context - taken

    def _grammar(self, body: GenerateBody, asked: Asked) -> str | None:
        """What the answer follows; it says itself where the answer may end."""
        if body.structured_outputs is None:
            return None
        for name, given in (("min_tokens", body.min_tokens), ("ignore_eos", body.ignore_eos)):
            if given:
                raise BadRequest(
                    f"'{FIELD}' says where the answer ends, and so does '{name}'; leave one out",
                    param=name,
                )
        return self._grammars.checked(body.structured_outputs, opens=not asked.continues)

    def _sampling(self, body: GenerateBody) -> Sampling:
        return Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=max(body.top_k, 0),
            min_p=body.min_p,
            repetition_penalty=body.repetition_penalty,
            presence_penalty=body.presence_penalty,
            frequency_penalty=body.frequency_penalty,
            logit_bias=tuple((int(k), v) for k, v in (body.logit_bias or {}).items()),
            seed=seed_of(body, self._seed),
        )

    def _stop_ids(self, body: GenerateBody, asked: Asked) -> frozenset[int]:
        own = frozenset() if body.ignore_eos else self._ends.union(asked.stop_ids)
        return own.union(body.stop_token_ids or ())

    def _check_ids(self, field: str, ids: Iterable[int]) -> None:
        for token in ids:
            if token >= self._vocabulary:
                raise OutOfRange(
                    f"{token} is not less than {self._vocabulary}, the size of the vocabulary"
                    f" - '{field}'",
                    param=field,
                )


def seed_of(body: GenerateBody, own: int | None) -> int | None:
    """What chance comes of, given the worker's `own` seed; None for whatever is drawn."""
    if body.seed is not None:
        return body.seed
    return None if own is None else own + body.choice


def _texts(stop: str | list[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)
