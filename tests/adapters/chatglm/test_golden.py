"""What the native model computes is what the original computed: logits, greedy ids, loss."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from support.golden_glm import (
    DENSE,
    GOLDEN,
    QUANTISED,
    REFUSED,
    config_of,
    facts_of,
    needs_golden,
    tensors_of,
)
from support.tiny_glm import logits
from transformers import GlmForCausalLM

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.export import export_native, export_original
from danlu.adapters.models.chatglm.loading import load_chatglm
from danlu.adapters.models.chatglm.names import parts, split
from danlu.adapters.models.chatglm.native import description_of
from danlu.adapters.models.chatglm.shards import tensors_in
from danlu.adapters.models.checkpoint import weight_files

pytestmark = [pytest.mark.slow, needs_golden]

CLOSE = 1e-4
TOKENIZER = GOLDEN / "tokenizer" / "tokenizer.model"


@cache
def loaded(name: str) -> GlmForCausalLM:
    return load_chatglm(GOLDEN / name, config_of(name), "cpu", torch.float32)


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max())


def greedy(model: Any, ids: torch.Tensor, new: int, **more: Any) -> list[list[int]]:
    with torch.inference_mode():
        found = model.generate(
            ids, do_sample=False, temperature=1.0, top_p=1.0, top_k=50, max_new_tokens=new, **more
        )
    rows: list[list[int]] = found.tolist()
    return rows


@pytest.mark.parametrize("name", DENSE)
def test_the_logits_of_whole_prompts_short_and_long(name: str) -> None:
    expected, prompts = tensors_of(name), facts_of(name)["prompts"]
    assert max(len(prompt) for prompt in prompts) == 130
    for number, prompt in enumerate(prompts):
        ours = logits(loaded(name), torch.tensor([prompt]))[0]
        assert apart(ours, expected[f"logits.{number}"]) < CLOSE


@pytest.mark.parametrize("name", DENSE)
def test_the_logits_of_a_prefill_and_of_the_tokens_after_it(name: str) -> None:
    model: Any = loaded(name)
    ids = torch.tensor([facts_of(name)["prompts"][3]])
    with torch.inference_mode():
        out = model(input_ids=ids[:, :20], use_cache=True)
        rows = [out.logits[0]]
        for position in range(20, ids.shape[1]):
            step = ids[:, position : position + 1]
            out = model(input_ids=step, past_key_values=out.past_key_values, use_cache=True)
            rows.append(out.logits[0])
    assert apart(torch.cat(rows), tensors_of(name)["decode_logits"]) < CLOSE


@pytest.mark.parametrize("name", DENSE)
def test_the_logits_of_a_batch_padded_on_the_left(name: str) -> None:
    expected = tensors_of(name)
    model: Any = loaded(name)
    mask = expected["leftpad.attention_mask"]
    with torch.inference_mode():
        ours = model(
            input_ids=expected["leftpad.input_ids"],
            attention_mask=mask,
            position_ids=expected["leftpad.position_ids"],
        ).logits
    real = mask.bool()
    assert apart(ours[real], expected["leftpad.logits"][real]) < CLOSE


@pytest.mark.parametrize("name", DENSE)
def test_the_greedy_continuations_token_for_token(name: str) -> None:
    facts = facts_of(name)
    for prompt, expected in zip(facts["prompts"], facts["greedy"], strict=True):
        new = len(expected) - len(prompt)
        assert greedy(loaded(name), torch.tensor([prompt]), new) == [expected]


@pytest.mark.parametrize("name", DENSE)
def test_the_greedy_continuations_of_a_padded_batch(name: str) -> None:
    expected, facts = tensors_of(name), facts_of(name)["greedy_leftpad_batch"]
    ids, mask = expected["leftpad.input_ids"], expected["leftpad.attention_mask"]
    found = greedy(loaded(name), ids, len(facts[0]) - ids.shape[1], attention_mask=mask)
    assert found == facts


@pytest.mark.parametrize("name", DENSE)
def test_the_loss_and_its_gradient(name: str) -> None:
    model: Any = loaded(name)
    ids = torch.tensor([facts_of(name)["prompts"][3]])
    labels = ids.clone()
    labels[:, :10] = -100
    loss = model(input_ids=ids, labels=labels).loss
    attention = model.model.layers[0].self_attn
    weights = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
    found = torch.autograd.grad(loss, weights)
    of = description_of(model.config)
    theirs = split(tensors_of(name)["grad.layers.0.query_key_value"], of)
    assert abs(loss.item() - facts_of(name)["loss"]) < CLOSE
    assert max(apart(a, b) for a, b in zip(found, theirs, strict=True)) < CLOSE


@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_checkpoint_is_its_own_reference(name: str) -> None:
    expected, facts = tensors_of(name), facts_of(name)
    ids = expected["input_ids"]
    assert apart(logits(loaded(name), ids)[0], expected["logits"]) < CLOSE
    new = len(facts["greedy"]) - 5
    assert greedy(loaded(name), ids[:, :5], new) == [facts["greedy"]]


@pytest.mark.parametrize("name", DENSE)
def test_original_read_and_written_has_the_same_tensors(name: str, tmp_path: Path) -> None:
    theirs = dict(tensors_in(weight_files(GOLDEN / name)))
    export_original(loaded(name), TOKENIZER, tmp_path / "out")
    ours = torch.load(tmp_path / "out" / "pytorch_model.bin", weights_only=True)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert set(parts(description_of(loaded(name).config))) < set(ours)


@pytest.mark.parametrize("name", [*DENSE, *QUANTISED])
def test_native_written_is_read_by_transformers_with_equal_logits(
    name: str, tmp_path: Path
) -> None:
    export_native(loaded(name), TOKENIZER, tmp_path / "out")
    kind: Any = GlmForCausalLM
    again = kind.from_pretrained(tmp_path / "out", dtype=torch.float32, local_files_only=True)
    assert torch.equal(logits(again), logits(loaded(name)))


@pytest.mark.parametrize(("name", "field"), REFUSED.items())
def test_what_cannot_be_expressed_is_refused_by_its_field(name: str, field: str) -> None:
    with pytest.raises(StartError) as refusal:
        load_chatglm(GOLDEN / name, config_of(name), "cpu", torch.float32)
    assert field in str(refusal.value)
    assert str(GOLDEN / name / "config.json") in str(refusal.value)
