"""Step by step through a model, against transformers' own `generate`."""

from typing import Any

import pytest
import torch
from support.card import card, on_card
from support.tiny import random_model
from transformers import CONFIG_MAPPING

from danlu.worker.forward import Forward

pytestmark = pytest.mark.usefixtures("bound")

ROTARY: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
LEARNED = {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
RECURRENT = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": ROTARY,
    "qwen2": ROTARY,
    "glm": ROTARY,
    "mistral": {**ROTARY, "sliding_window": 16},
    "gemma3_text": {**ROTARY, "sliding_window": 16, "query_pre_attn_scalar": 8},
    "gpt2": LEARNED,
    "bloom": {"vocab_size": 120, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"vocab_size": 120, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
    "mamba": {**RECURRENT, "state_size": 4},
    "rwkv": {**RECURRENT, "attention_hidden_size": 32, "context_length": 128},
}
PROMPT = torch.randint(3, 120, (1, 45), generator=torch.Generator().manual_seed(1))
NEW = 20


def prompt() -> torch.Tensor:
    return PROMPT[0].to(card())


def continued(forward: Forward, chunk: int) -> list[int]:
    *_, rows = forward.prefill(chunk)
    logits, tokens = rows[-1], []
    for _ in range(NEW):
        tokens.append(int(logits.argmax()))
        logits = forward.step(tokens[-1])
    return tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_it_continues_as_generate_does(family: str) -> None:
    """With the prompt in one piece, and in pieces that divide nothing evenly."""
    model = random_model(CONFIG_MAPPING[family](**FAMILIES[family]))
    generate: Any = model.generate
    with torch.inference_mode():
        expected = generate(PROMPT, max_new_tokens=NEW, do_sample=False, eos_token_id=None)
        on_card(model)
        for chunk in (512, 7):
            assert continued(Forward(model, prompt()), chunk) == expected[0, 45:].tolist()


@pytest.mark.parametrize("family", ["llama", "gpt2", "mamba"])
def test_every_row_of_the_prompt_can_be_had(family: str) -> None:
    model: Any = random_model(CONFIG_MAPPING[family](**FAMILIES[family]))
    with torch.inference_mode():
        expected = model(PROMPT).logits[0]
        rows = torch.cat(list(Forward(on_card(model), prompt()).score(chunk=7)))
        assert torch.allclose(rows.cpu(), expected, atol=1e-4)


def test_a_prompt_asks_for_one_row_of_logits_a_chunk() -> None:
    model = on_card(random_model(CONFIG_MAPPING["llama"](**ROTARY)))
    with torch.inference_mode():
        assert [len(rows) for rows in Forward(model, prompt()).prefill(chunk=20)] == [1, 1, 1]
