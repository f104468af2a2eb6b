"""Turns texts into vectors, on the thread that calls it. Knows no pool and no HTTP."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..adapters.errors import BadRequest, PromptTooLong, ServeError
from .engine import Embeddings


class Embedder:
    """A text's vector is the mean of its tokens' last hidden states, of length 1.

    Texts go through the model one by one: without padding nothing of its neighbours can reach a
    text's vector, not even by rounding. `cut` shortens a text to the context that would not fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encode: Callable[[str], Sequence[int]],
        context_length: int,
        cut: bool,
    ) -> None:
        self._model: Any = model
        self._encode = encode
        self._context = context_length
        self._cut = cut

    def embed(self, texts: Sequence[str], before_each: Callable[[], None]) -> Embeddings:
        """The vectors of `texts`; `before_each` may end it by raising."""
        prompts = [self._ids(i, text) for i, text in enumerate(texts)]
        vectors = []
        with torch.inference_mode():
            for ids in prompts:
                before_each()
                vectors.append(self._vector(ids))
        return Embeddings(vectors, sum(map(len, prompts)))

    def _ids(self, number: int, text: str) -> Sequence[int]:
        field = f"input[{number}]"
        if not text:
            raise BadRequest(f"'{field}' is empty", param=field)
        ids = self._encode(text)
        if len(ids) <= self._context:
            return ids
        if self._cut:
            return ids[: self._context]
        raise PromptTooLong(
            f"'{field}' has {len(ids)} tokens, and the model's context is {self._context}; send it "
            "in parts, or start the worker with --embed-in-truncate",
            param=field,
        )

    def _vector(self, ids: Sequence[int]) -> list[float]:
        inputs = torch.tensor([list(ids)], device=self._model.device)
        mean = self._last_hidden(inputs)[0].float().mean(0)
        vector: list[float] = torch.nn.functional.normalize(mean, dim=-1).tolist()
        if any(value != value for value in vector):
            raise ServeError("the model's hidden states are not numbers; try --dtype float32")
        return vector

    def _last_hidden(self, inputs: Tensor) -> Tensor:
        """Without the head where the model can be run without it."""
        body = self._model.base_model
        if body is not self._model:
            outputs = body(input_ids=inputs, use_cache=False)
            hidden: Tensor | None = getattr(outputs, "last_hidden_state", None)
            if hidden is not None:
                return hidden
        states = self._model(input_ids=inputs, use_cache=False, output_hidden_states=True)
        last: Tensor = states.hidden_states[-1]
        return last
