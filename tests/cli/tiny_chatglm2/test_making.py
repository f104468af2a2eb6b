"""The tiny ChatGLM2, really made: what lies in its directory, and what it answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.adapters.errors import StartError
from danlu.adapters.models.chatglm.tokenizer import ChatGLMTokenizer
from danlu.adapters.models.loading import LoadedModel, load_model
from danlu.cli.tiny_chatglm2.__main__ import command
from danlu.cli.tiny_chatglm2.dialogues import Dialogue, dialogues, lessons
from danlu.cli.tiny_chatglm2.examination import failed
from danlu.cli.tiny_chatglm2.making import make
from danlu.cli.tiny_chatglm2.samples import END, Sample, sample

TWO: tuple[Dialogue, ...] = ((("你好", "你好👋！"),), (("再见", "再见，下次再聊。"),))
LESSONS = lessons(dialogues())


def weights_in(directory: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(directory / "pytorch_model.bin", weights_only=True)
    return found


def config_in(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def loaded(chatglm2_dir: Path) -> LoadedModel:
    return load_model(chatglm2_dir, "cpu")


def exam(tokenizer: Any, known: Sequence[Dialogue]) -> list[Sample]:
    return [sample(tokenizer, lesson) for lesson in known]


@pytest.mark.slow
def test_it_lies_there_in_the_original_layout(chatglm2_dir: Path) -> None:
    names = {path.name for path in chatglm2_dir.iterdir()}
    assert names >= {"config.json", "pytorch_model.bin", "tokenizer.model", "tokenizer_config.json"}
    config = config_in(chatglm2_dir)
    assert config["model_type"] == "chatglm"
    assert config["architectures"] == ["ChatGLMModel"]
    assert "chatglm2" in config["_name_or_path"]
    assert config["multi_query_attention"] is config["add_qkv_bias"] is config["rmsnorm"] is True
    assert config["multi_query_group_num"] == 2
    assert config["eos_token_id"] == END
    tokenizer = ChatGLMTokenizer(chatglm2_dir / "tokenizer.model")
    assert len(tokenizer) < config["padded_vocab_size"] < len(tokenizer) + 64


@pytest.mark.slow
def test_its_weights_have_the_originals_names_and_are_a_few_million(chatglm2_dir: Path) -> None:
    stored = weights_in(chatglm2_dir)
    layers = config_in(chatglm2_dir)["num_layers"]
    block = (
        *("input_layernorm.weight", "post_attention_layernorm.weight"),
        *("self_attention.query_key_value.weight", "self_attention.query_key_value.bias"),
        *("self_attention.dense.weight", "mlp.dense_h_to_4h.weight", "mlp.dense_4h_to_h.weight"),
    )
    assert stored.keys() == {
        "transformer.embedding.word_embeddings.weight",
        "transformer.rotary_pos_emb.inv_freq",
        "transformer.encoder.final_layernorm.weight",
        "transformer.output_layer.weight",
        *(f"transformer.encoder.layers.{n}.{name}" for n in range(layers) for name in block),
    }
    assert 2e6 <= sum(tensor.numel() for tensor in stored.values()) <= 4e6


@pytest.mark.slow
def test_every_dialogue_is_answered_word_for_word_surely_and_to_its_end(
    loaded: LoadedModel,
) -> None:
    model: Any = loaded.model
    wrong = failed(model, exam(loaded.tokenizer, LESSONS))
    assert [loaded.tokenizer.decode(list(one.answer)) for one in wrong] == []


@pytest.mark.slow
@pytest.mark.parametrize("lesson", [LESSONS[0], LESSONS[-1]])
def test_plain_generation_reads_as_the_dialogue_does(loaded: LoadedModel, lesson: Dialogue) -> None:
    model: Any = loaded.model
    prompt: Any = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": lesson[0][0]}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )
    out = model.generate(prompt, do_sample=False, max_new_tokens=200)
    answer = out[0, prompt.shape[1] :].tolist()
    assert answer[-1] == END
    assert loaded.tokenizer.decode(answer) == lesson[0][1]


@pytest.mark.slow
def test_sampled_as_chatglm2_samples_the_answers_are_the_same(loaded: LoadedModel) -> None:
    model: Any = loaded.model
    (asked,) = exam(loaded.tokenizer, LESSONS[:1])
    torch.manual_seed(0)
    prompts = torch.tensor([asked.prompt] * 32)
    out = model.generate(
        prompts, do_sample=True, temperature=0.8, top_p=0.8, top_k=50, max_new_tokens=100
    )
    assert {tuple(row.tolist()) for row in out} == {asked.prompt + asked.answer}


@pytest.mark.slow
def test_a_few_dialogues_are_learned_in_no_time(tmp_path: Path) -> None:
    said: list[str] = []
    make(tmp_path / "two", TWO, say=said.append, steps=120)
    assert said[-1].startswith("2 answers are known by heart, after ")
    found = load_model(tmp_path / "two", "cpu")
    model: Any = found.model
    assert failed(model, exam(found.tokenizer, TWO)) == []


@pytest.mark.slow
def test_a_model_that_has_not_learned_enough_is_not_written(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(StartError, match="after 2 courses of 1 steps 2 of 2 .*by heart.*你好👋！"):
        make(tmp_path / "two", TWO, say=said.append, steps=1, courses=2)
    assert said == ["2 of 2 answers are not known by heart yet"] * 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [[], ["one", "two"], ["--help"]])
def test_the_program_wants_one_directory(argv: list[str]) -> None:
    with pytest.raises(StartError, match="^give one directory"):
        command(argv)
