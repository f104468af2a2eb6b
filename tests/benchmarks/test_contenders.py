"""Contenders on tiny models, and what they say where they cannot take part."""

import importlib
import random
from pathlib import Path

import pytest
import torch
from support.tiny import save_tiny

from benchmarks.contenders.options import Options
from benchmarks.contest import Outcome, Task
from benchmarks.gguf import renamed, turned
from benchmarks.lines import Contender, Missing
from benchmarks.models import MODELS, prompts, tokenizer_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def asked(model: Path, *more: str) -> Options:
    return Options(model, "float32", threads=1, streams=2, tokens=32, more=more)


def a_task(model: Path) -> Task:
    size, chance = 8, random.Random(1)
    return Task(prompts(tokenizer_of(model), MODELS["smollm2"], 2, size, chance), new_tokens=5)


def done(contender: Contender, task: Task) -> Outcome:
    try:
        return contender.run(task)
    finally:
        contender.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bare", "generate", "seam", "stack"])
def test_a_contender_does_the_whole_task(model: Path, name: str) -> None:
    contender = load(name, asked(model))
    outcome = done(contender, a_task(model))
    assert outcome.tokens == 10
    assert len(outcome.arrivals) == 2
    for times in outcome.arrivals:
        assert times == sorted(times)
        assert times[0] > 0 and times[-1] <= outcome.seconds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seam", "stack"])
def test_an_engine_that_the_worker_does_not_have_is_missing_with_its_sentence(
    model: Path, name: str
) -> None:
    with pytest.raises(Missing, match="furnace"):
        load(name, asked(model, "--engine", "furnace"))


def test_a_compiled_model_is_missing_where_no_compiler_is(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match="needs g\\+\\+"):
        load("bare", asked(model, "compile"))


def test_llama_cpp_is_missing_where_its_environment_is_not(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="benchmarks/llama-env"):
        load("llama", asked(tmp_path, "f32"))


def test_prompts_have_the_size_asked_for_and_differ(model: Path) -> None:
    first, second = a_task(model).prompts
    tokenizer = tokenizer_of(model)
    for prompt in (first, second):
        assert len(prompt.ids) == 8
        assert tuple(tokenizer(prompt.text)["input_ids"]) == prompt.ids
    assert first != second


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("model.embed_tokens.weight", "token_embd"),
        ("model.norm.weight", "output_norm"),
        ("model.layers.12.self_attn.q_proj.weight", "blk.12.attn_q"),
        ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm"),
    ],
)
def test_tensors_get_the_names_that_llama_cpp_knows(name: str, found: str) -> None:
    assert renamed(name) == found


def test_rotated_halves_become_neighbours() -> None:
    config = {"num_attention_heads": 2, "num_key_value_heads": 1}
    rows = torch.arange(8.0).reshape(8, 1)  # two heads of four rows
    found = turned("model.layers.0.self_attn.q_proj.weight", rows, config)
    assert found.flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert turned("model.norm.weight", rows, config).equal(rows)


def load(name: str, options: Options) -> Contender:
    module = importlib.import_module(f"benchmarks.contenders.{name}")
    made = {"bare": "Bare", "generate": "Generate", "stack": "Stack", "llama": "Llama"}
    if name == "seam":
        contender: Contender = module.Seam(module.engine_for(options))
    else:
        contender = getattr(module, made[name])(options)
    return contender
