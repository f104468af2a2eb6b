"""Which models are run in batches; one that is not answers as before, and is told why."""

import copy
from collections.abc import Callable
from math import inf, isnan
from typing import Any

import pytest
import torch
from support.card import card, on_card
from support.stepping import Stepped, own_rows
from support.tiny import random_model
from torch import Tensor, nn
from transformers import (
    BloomConfig,
    Cohere2Config,
    DeepseekV3Config,
    DiffLlamaConfig,
    DogeConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GptOssConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3MoeConfig,
    SmolLM3Config,
)

from danlu.worker.attention import NAME
from danlu.worker.kv_cache import LayerShape
from danlu.worker.suitability import distance, fitted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bound")]
CONTEXT = 128
IDS = torch.arange(30).unsqueeze(0) * 7 % 100
SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
NO_GROUPS = {**SIZES, "num_key_value_heads": 4}
OTHERS: dict[str, Any] = {"vocab_size": 100, "hidden_size": 32, "num_attention_heads": 4}
GPT: dict[str, Any] = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT: dict[str, Any] = {
    **NO_GROUPS,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
}


def rope(kind: str, **facts: Any) -> dict[str, Any]:
    return {"rope_type": kind, "rope_theta": 10000.0, **facts}


FITS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "llama, stretched": lambda: LlamaConfig(**SIZES, rope_parameters=rope("linear", factor=4.0)),
    "llama, yarn": lambda: LlamaConfig(
        **SIZES,
        rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16),
    ),
    "mistral without a window": lambda: MistralConfig(**SIZES, sliding_window=None),
    "mistral with a wide window": lambda: MistralConfig(**SIZES, sliding_window=CONTEXT),
    "qwen2 whose window is off": lambda: Qwen2Config(**SIZES, sliding_window=16),
    "qwen3 of experts": lambda: Qwen3MoeConfig(**SIZES, **EXPERTS),
    "mixtral": lambda: MixtralConfig(**SIZES, sliding_window=None, num_local_experts=4),
    "gemma2 without a cap": lambda: Gemma2Config(
        **SIZES, head_dim=8, sliding_window=CONTEXT, attn_logit_softcapping=None
    ),
    "gemma3 with a wide window": lambda: Gemma3TextConfig(
        **SIZES, head_dim=8, sliding_window=CONTEXT
    ),
    "a layer without positions": lambda: SmolLM3Config(**SIZES, no_rope_layers=[0, 1]),
    "learned positions": lambda: GPT2Config(**GPT, n_positions=256),
    "learned positions that the model counts": lambda: OPTConfig(
        **OTHERS, ffn_dim=48, num_hidden_layers=2, word_embed_proj_dim=32, dropout=0.0
    ),
    "latent keys of one size": lambda: DeepseekV3Config(**LATENT, v_head_dim=16),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "its attention sees 127 tokens only": lambda: MistralConfig(**SIZES, sliding_window=127),
    "its attention sees 16 tokens only": lambda: MixtralConfig(**SIZES, sliding_window=16),
    "its attention sees 17 tokens only": lambda: Phi3Config(**SIZES, sliding_window=17),
    "its attention sees 18 tokens only": lambda: Qwen2Config(
        **SIZES, sliding_window=18, use_sliding_window=True, max_window_layers=1
    ),
    "its attention sees 19 tokens only": lambda: Cohere2Config(**SIZES, sliding_window=19),
    "it cannot be run so: attention with softcap": lambda: Gemma2Config(
        **SIZES, head_dim=8, sliding_window=CONTEXT
    ),
    "it cannot be run so: attention with s_aux": lambda: GptOssConfig(
        **SIZES, head_dim=8, sliding_window=CONTEXT, num_local_experts=4
    ),
    "it cannot be run so: attention with a mask of the model's own": lambda: DogeConfig(**SIZES),
    "it cannot be run so: a layer that attends twice": lambda: DiffLlamaConfig(**SIZES),
    "it cannot be run so: values of another shape than keys": lambda: DeepseekV3Config(
        **LATENT, v_head_dim=8
    ),
    "its dynamic rotation depends on the longest text": lambda: LlamaConfig(
        **SIZES, rope_parameters=rope("dynamic", factor=2.0)
    ),
    "its longrope rotation depends on the longest text": lambda: Phi3Config(
        **SIZES,
        sliding_window=None,
        rope_parameters=rope(
            "longrope",
            short_factor=[1.0] * 4,
            long_factor=[2.0] * 4,
            factor=16.0,
            original_max_position_embeddings=16,
            partial_rotary_factor=1.0,
        ),
    ),
    "it has conv layers": lambda: Lfm2Config(**SIZES, layer_types=["conv", "full_attention"]),
    "it has chunked_attention layers": lambda: Llama4TextConfig(**SIZES, num_local_experts=2),
}
HAVE_THEIR_OWN: dict[str, Callable[[], Any]] = {
    "recurrent": lambda: MambaConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2),
    "positions as a bias": lambda: BloomConfig(vocab_size=100, hidden_size=32, n_layer=2, n_head=4),
    "attention as a part": lambda: FalconConfig(**OTHERS, num_hidden_layers=2),
}


class Drifting(nn.Module):
    """Something between the layers that looks at the token before."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + hidden.roll(1, dims=1)


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        rows: Tensor = model(input_ids=IDS.to(card()), use_cache=False).logits
    return rows.cpu()


def refusal(model: PreTrainedModel) -> str:
    """Why it is refused; it must be as if nobody had asked."""
    on_card(model)
    before, attention = logits(model), model.config._attn_implementation
    fit = fitted(model, CONTEXT)
    assert (fit.layers, fit.vocabulary) == ((), 0)
    assert model.config._attn_implementation == attention
    assert torch.equal(logits(model), before)
    return fit.reason


@pytest.mark.parametrize("kind", FITS)
def test_a_model_that_works_on_each_token_by_itself_fits(kind: str) -> None:
    """And a whole text, as embeddings need it, gives what it gave."""
    model = on_card(random_model(FITS[kind]()))
    before = logits(model)
    fit = fitted(model, CONTEXT)
    assert fit.reason == ""
    assert len(fit.layers) == 2
    assert fit.vocabulary == 100
    assert model.config._attn_implementation == NAME
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-5 * float(before.abs().max()))


@pytest.mark.parametrize("kind", FITS)
def test_a_model_that_fits_is_right_in_batches_in_parts_and_beside_what_was_read(kind: str) -> None:
    own = random_model(FITS[kind]())
    model = on_card(copy.deepcopy(own))
    line = Stepped(model, fitted(model, CONTEXT), slots=3)
    shared = IDS[0].tolist()
    elder = line.add([*shared, *range(30)])
    line.until(elder, 3, budget=23)
    others = [line.add([*shared, 5, 6]), line.add([7]), line.add(range(20, 90))]
    for budget in (16, 30, 17, 16, 40, 16):
        line.step(budget)
    line.end(elder)
    line.until(others[-1], 5, budget=20)
    for sequence in (elder, *others):
        rows = own_rows(own, sequence)
        atol = 1e-5 * float(rows.abs().max())
        torch.testing.assert_close(torch.stack(line.rows[sequence]), rows, rtol=0, atol=atol)


@pytest.mark.parametrize("reason", REFUSED)
def test_one_that_does_more_is_refused_with_its_reason(reason: str) -> None:
    assert refusal(random_model(REFUSED[reason]())) == reason


@pytest.mark.parametrize("kind", HAVE_THEIR_OWN)
def test_one_whose_attention_is_its_own_is_refused(kind: str) -> None:
    assert refusal(random_model(HAVE_THEIR_OWN[kind]())) == "its attention cannot be exchanged"


def test_rotations_of_one_type_of_layers_count_too() -> None:
    config = Gemma3TextConfig(
        **SIZES,
        head_dim=8,
        sliding_window=CONTEXT,
        layer_types=["full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": rope("dynamic", factor=2.0),
            "sliding_attention": rope("default"),
        },
    )
    assert refusal(random_model(config)) == "its dynamic rotation depends on the longest text"


def test_a_model_with_code_of_its_own_is_refused() -> None:
    kind: Any = type("OwnCode", (LlamaForCausalLM,), {"__module__": "modeling_own"})
    model: PreTrainedModel = kind(LlamaConfig(**SIZES))
    assert refusal(model.train(False)) == "it runs code of its own"


def test_results_that_would_differ_are_seen() -> None:
    model: Any = random_model(LlamaConfig(**SIZES))
    model.model.layers[1].mlp.down_proj = nn.Sequential(
        model.model.layers[1].mlp.down_proj, Drifting()
    )
    assert refusal(model).startswith("its results would differ by ")


def test_results_that_are_no_numbers_are_no_proof() -> None:
    model: Any = random_model(LlamaConfig(**SIZES))
    model.lm_head.weight[3] = float("nan")
    attention = model.config._attn_implementation
    assert (
        fitted(on_card(model), CONTEXT).reason == "its results would differ by nan of their spread"
    )
    assert model.config._attn_implementation == attention


def test_what_is_added_to_a_whole_row_is_no_distance() -> None:
    """As half precision does to SmolLM2, by a third of a row's spread."""
    expected = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    assert distance(expected + torch.tensor([[1.0], [0.0], [-2.0]]), expected) < 1e-5


def test_the_row_that_differs_most_is_the_distance() -> None:
    expected = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    found = expected.clone()
    found[1] *= 1.5
    assert distance(found, expected) == pytest.approx(0.5)
    found[2, 7] = float("nan")
    assert isnan(distance(found, expected))


def test_rows_without_a_spread_are_to_be_the_same() -> None:
    """As those of a token whose embedding is nothing."""
    nothing = torch.zeros(2, 50)
    assert distance(nothing, nothing) == 0
    found = nothing.clone()
    found[1, 3] = 1e-9
    assert distance(found, nothing) == inf


def test_the_layers_shapes_are_those_of_their_keys() -> None:
    model = on_card(random_model(LlamaConfig(**SIZES, head_dim=16)))
    assert fitted(model, CONTEXT).layers == (LayerShape(2, 16), LayerShape(2, 16))
