"""The names of the layers that a LoRA is trained on."""

import pytest
from support.tiny import random_model, tiny_config
from support.tiny_glm import tiny_glm
from transformers import GPT2Config

from danlu.adapters.errors import StartError
from danlu.training.methods.targets import chosen, shortest

GLM_LAYER = {
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_up_proj",
    "mlp.down_proj",
}


def in_layers(*names: str, layers: int = 2) -> set[str]:
    return {f"model.layers.{number}.{name}" for number in range(layers) for name in names}


def test_all_linear_layers_of_the_decoder_are_meant_where_none_is_named() -> None:
    assert set(chosen(tiny_glm(), ())) == in_layers(*GLM_LAYER)


def test_a_layer_is_named_by_its_last_parts_or_in_full() -> None:
    model = tiny_glm()
    assert set(chosen(model, ["down_proj"])) == in_layers("mlp.down_proj")
    assert set(chosen(model, ["self_attn.q_proj"])) == in_layers("self_attn.q_proj")
    one = "model.layers.1.self_attn.v_proj"
    assert chosen(model, [one, one]) == (one,)


@pytest.mark.parametrize(
    ("original", "native"),
    [
        ("query_key_value", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}),
        ("dense", {"self_attn.o_proj"}),
        ("dense_h_to_4h", {"mlp.gate_up_proj"}),
        ("dense_4h_to_h", {"mlp.down_proj"}),
    ],
)
def test_a_chatglm_knows_the_originals_names(original: str, native: set[str]) -> None:
    assert set(chosen(tiny_glm(), [original])) == in_layers(*native)


def test_names_of_both_kinds_go_together() -> None:
    found = chosen(tiny_glm(), ["dense", "q_proj"])
    assert set(found) == in_layers("self_attn.o_proj", "self_attn.q_proj")


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(StartError) as refused:
        chosen(tiny_glm(), ["q_proj", "c_attn"])
    assert str(refused.value) == (
        "--lora-target-modules has 'c_attn', which is no linear layer of this glm; there are "
        "q_proj, k_proj, v_proj, o_proj, gate_up_proj, down_proj, or by the original's names "
        "query_key_value, dense, dense_h_to_4h, dense_4h_to_h"
    )


@pytest.mark.parametrize("name", ["lm_head", "proj", "query_key_value", ""])
def test_the_head_parts_of_words_and_anothers_names_are_unknown(name: str) -> None:
    with pytest.raises(StartError, match="no linear layer of this llama; there are q_proj"):
        chosen(random_model(tiny_config()), [name])


def test_a_model_without_linear_layers_is_refused() -> None:
    model = random_model(GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=16))
    with pytest.raises(StartError, match="GPT2LMHeadModel has no linear layers"):
        chosen(model, ())


def test_the_shortest_names_mean_the_chosen_layers_and_no_others() -> None:
    model = tiny_glm()
    every = chosen(model, ["q_proj", "dense"])
    assert shortest(model, every) == ["o_proj", "q_proj"]
    some = every[:1]
    assert shortest(model, some) == list(some)
