"""What configurations of many families say about their context and their ends."""

import copy
from typing import Any

import pytest
import torch
from support.tiny import CHATML, byte_level_tokenizer, random_model, tiny_config
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from danlu.adapters.models import facts

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


@pytest.mark.parametrize(
    ("family", "fields", "expected"),
    [
        ("llama", {"max_position_embeddings": 128}, 128),
        ("gpt2", {"n_positions": 77}, 77),
        ("mpt", {"max_seq_len": 99}, 99),
        ("rwkv", {"context_length": 55}, 55),
        ("mamba", {}, None),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, 256),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, 512),
        ("qwen2", {"rope_scaling": YARN}, 512),
        ("qwen2", {"max_position_embeddings": 512, "rope_scaling": YARN}, 512),
        (
            "llama",
            {
                "max_position_embeddings": 1024,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 128,
                },
            },
            1024,
        ),
    ],
)
def test_the_stated_context(family: str, fields: dict[str, Any], expected: int | None) -> None:
    if "rope_scaling" in fields:
        fields = {"max_position_embeddings": 128, **fields}
    assert facts.stated_length(CONFIG_MAPPING[family](**fields)) == expected


@pytest.mark.parametrize(
    ("family", "fields", "expected"),
    [
        ("gpt2", {"n_positions": 77}, 77),
        ("gpt_neo", {"max_position_embeddings": 77, "attention_types": [[["global"], 2]]}, 77),
        ("gpt_bigcode", {"n_positions": 77}, 77),
        ("opt", {"max_position_embeddings": 77, "word_embed_proj_dim": 32}, 77),
        ("openai-gpt", {"n_positions": 77}, 77),
        ("llama", {"max_position_embeddings": 77}, None),
        ("gptj", {"n_positions": 77}, None),
        ("mpt", {"max_seq_len": 77}, None),
        ("bloom", {}, None),
    ],
)
def test_positions_that_are_learned_are_counted(
    family: str, fields: dict[str, Any], expected: int | None
) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 99}
    odd = {"bloom": {"n_layer": 2, "n_head": 2}, "gpt_neo": {"num_layers": 2, "num_heads": 2}}
    rotary = {"rotary_dim": 4} if family == "gptj" else {}
    config = CONFIG_MAPPING[family](**{**shape, **odd.get(family, {}), **rotary, **fields})
    with torch.device("meta"):
        factory: Any = AutoModelForCausalLM  # not annotated
        model = factory.from_config(config)
    assert facts.learned_positions(model) == expected


def test_a_model_that_states_no_context_has_its_tokenizers_or_a_modest_one() -> None:
    tokenizer, config = byte_level_tokenizer(), CONFIG_MAPPING["mamba"]()
    assert facts.context_length(config, tokenizer) == facts.UNKNOWN_LENGTH


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        (CHATML, {2, 7}),
        (CHATML.replace("<|im_end|>", "<|endoftext|>"), {0, 7}),
        (CHATML.replace("<|im_end|>", ""), {7}),
        ("{{ '<|im_end|>' + messages[0].content }}", {7}),
        ("{{ raise_exception('no') }}", {7}),
        (None, {7}),
    ],
)
def test_what_a_template_writes_after_an_answer_ends_it(
    template: str | None, ends: set[int]
) -> None:
    tokenizer: Any = copy.deepcopy(byte_level_tokenizer())
    tokenizer.eos_token, tokenizer.chat_template = None, template
    model: Any = random_model(tiny_config(eos_token_id=7))
    assert facts.end_ids(model, tokenizer) == ends


def test_end_tokens_are_gathered_from_all_three_places() -> None:
    model: Any = random_model(tiny_config(eos_token_id=7))
    model.generation_config.eos_token_id = [8, 9]
    assert facts.end_ids(model, byte_level_tokenizer()) == {2, 7, 8, 9}
