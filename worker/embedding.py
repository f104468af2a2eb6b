"""Turns texts into vectors, on the thread that calls it. Knows no pool and no HTTP."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..adapters.errors import BadRequest, ServeError
from .engine import Embeddings


class Embedder:
    """A text's vector is the mean of its tokens' last hidden states, of length 1.

    Texts go through the model one by one: without padding nothing of its neighbours can reach a
    text's vector, not even by rounding. One that exceeds the context goes through in parts, as in
    FastChat; with `cut` only its beginning does.
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
        """The vectors of `texts`; `before_each` step it may be ended by raising."""
        prompts = [self._ids(i, text) for i, text in enumerate(texts)]
        with torch.inference_mode():
            vectors = [self._vector(ids, before_each) for ids in prompts]
        return Embeddings(vectors, sum(map(len, prompts)))

    def _ids(self, number: int, text: str) -> Sequence[int]:
        field = f"input[{number}]"
        if not text:
            raise BadRequest(f"'{field}' is empty", param=field)
        ids = self._encode(text)
        return ids[: self._context] if self._cut else ids

    def _vector(self, ids: Sequence[int], before_each: Callable[[], None]) -> list[float]:
        sums = []
        for start in range(0, len(ids), self._context):
            before_each()
            part = torch.tensor([ids[start : start + self._context]], device=self._model.device)
            sums.append(self._last_hidden(part)[0].float().sum(0))
        mean = torch.stack(sums).sum(0) / len(ids)
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
