"""Runs one sequence through a transformers model, step by step. Knows no sampling and no text."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

PREFILL_CHUNK = 512  # tokens; bounds a step's memory, and what a reader who leaves still costs
SCORED_CHUNK = 64  # tokens, where every position's logits are wanted: each is a vocabulary wide
# Where models put what they remember; one without any reads everything again at each step.
CACHES = ("past_key_values", "cache_params", "state")


class Forward:
    """One sequence's ids and cache. Owned by the thread that runs the sequence.

    A family's own way to slice its inputs and to number positions is in the methods that `generate`
    calls, not in `forward`. They are called here as it calls them, so that what generates there
    generates here, token for token. Like there, a mask without a zero is no mask.
    """

    def __init__(self, model: PreTrainedModel, prompt: Tensor) -> None:
        self._model: Any = model
        self._ids = prompt.view(1, -1)
        self._state: dict[str, Any] = {"use_cache": True, "attention_mask": None}
        accepted = inspect.signature(model.forward).parameters
        self._last_row = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._positions = "position_ids" in accepted
        # Not every family's recurrent state can be picked up in the middle of a prompt.
        self._in_chunks = not getattr(model, "_is_stateful", False)

    def prefill(self, chunk: int = PREFILL_CHUNK) -> Iterator[Tensor]:
        """Some last rows of each chunk's logits, the prompt's last one at the very end."""
        yield from self._read_prompt(chunk, self._last_row)

    def score(self, chunk: int = SCORED_CHUNK) -> Iterator[Tensor]:
        """Every position's row of logits, a chunk of the prompt at a time."""
        yield from self._read_prompt(chunk, {})

    def step(self, token: int) -> Tensor:
        """The last position's logits after one more token."""
        new = torch.tensor([[token]], device=self._ids.device)
        self._ids = torch.cat([self._ids, new], dim=1)
        cached = any(name in self._state for name in CACHES)
        inputs = self._model.prepare_inputs_for_generation(
            self._ids,
            next_sequence_length=1 if cached else None,
            **self._state,
            **self._last_row,
        )
        logits: Tensor = self._advance(inputs, read_all=True)[-1]
        return logits

    def _read_prompt(self, chunk: int, rows: dict[str, int]) -> Iterator[Tensor]:
        length = self._ids.shape[1]
        chunk = chunk if self._in_chunks else length
        for start in range(0, length, chunk):
            end = min(start + chunk, length)
            inputs = self._model.prepare_inputs_for_generation(
                self._ids[:, start:end],
                is_first_iteration=start == 0,
                **self._state,
                **self._places(start, end),
                **rows,
            )
            yield self._advance(inputs, read_all=end == length)

    def _advance(self, inputs: dict[str, Any], read_all: bool) -> Tensor:
        """Run the model and keep its cache; the logits, one row a position."""
        outputs = self._model(**inputs, return_dict=True)
        if read_all:
            if "position_ids" not in self._state:
                self._state.update(self._places(0, self._ids.shape[1]))
            self._state = self._model._update_model_kwargs_for_generation(outputs, self._state)
        else:
            for name in CACHES:
                if name in outputs:
                    self._state[name] = outputs[name]
        logits: Tensor = outputs.logits[0]
        return logits

    def _places(self, start: int, end: int) -> dict[str, Tensor]:
        if not self._positions:
            return {}
        return {"position_ids": torch.arange(start, end, device=self._ids.device).unsqueeze(0)}
