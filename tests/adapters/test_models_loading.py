"""Models into memory, and one sentence for those that cannot go there."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import CONTEXT, END, save_tiny, tiny_model
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from danlu.adapters.errors import StartError
from danlu.adapters.models.formats import chosen_dtype
from danlu.adapters.models.loading import load_model

NO_NETWORK = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"{event}: {args}")
sys.addaudithook(refuse)
from pathlib import Path
from danlu.adapters.models.loading import load_model
load_model(Path(sys.argv[1]), "cpu")
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def changed(path: Path, **facts: Any) -> Path:
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))
    return path


def complaint(path: Path, **more: Any) -> str:
    with pytest.raises(StartError) as info:
        load_model(path, "cpu", **more)
    assert "\n" not in str(info.value)
    return str(info.value)


def test_a_directory_is_loaded_with_what_must_be_known_of_it(model: Path) -> None:
    loaded = load_model(model, "cpu")
    assert (loaded.context_length, loaded.vocabulary) == (CONTEXT, 400)
    assert loaded.end_ids == {END}
    assert not loaded.model.training
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.model(ids).logits, tiny_model()(ids).logits)


def test_progress_goes_up_to_the_end(model: Path) -> None:
    seen: list[tuple[float, str]] = []
    load_model(model, "cpu", report=lambda fraction, detail: seen.append((fraction, detail)))
    assert [fraction for fraction, _ in seen] == sorted(fraction for fraction, _ in seen)
    assert seen[-1] == (1.0, "moving to cpu")
    assert "loading weights" in {detail for _, detail in seen}


def test_a_shorter_context_can_be_asked_for_and_a_longer_one_not(model: Path) -> None:
    assert load_model(model, "cpu", context_length=64).context_length == 64
    words = complaint(model, context_length=129)
    assert "--context-length 129 is more than the 128 tokens" in words


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_the_number_format_that_was_asked_for(model: Path, name: str) -> None:
    assert load_model(model, "cpu", dtype=name).model.dtype == getattr(torch, name)


@pytest.mark.parametrize(
    ("device", "stated", "expected"),
    [
        ("cpu", torch.bfloat16, torch.float32),
        ("npu:0", torch.bfloat16, torch.bfloat16),
        ("cuda:1", torch.float16, torch.float16),
        ("npu:0", torch.float32, torch.float16),
        ("npu:0", None, torch.float16),
    ],
)
def test_the_number_format_that_a_device_usually_takes(
    device: str, stated: torch.dtype | None, expected: torch.dtype
) -> None:
    assert chosen_dtype(None, device, stated) == expected


def test_a_chatglms_generation_is_no_matter_of_another_model(model: Path) -> None:
    words = complaint(model, chatglm_generation=3)
    assert "--chatglm-generation 3 is for a ChatGLM, and" in words


def test_an_architecture_that_nobody_knows(model: Path) -> None:
    assert "'foonet' model, which transformers" in complaint(changed(model, model_type="foonet"))


def test_a_configuration_that_transformers_refuses_is_named_with_its_reason(model: Path) -> None:
    said = complaint(changed(model, hidden_size="big"))
    assert "'hidden_size'" in said
    assert "'big'" in said


def test_code_beside_the_weights_is_run_on_request_only(model: Path) -> None:
    own = {"AutoConfig": "configuration_foo.Foo", "AutoModelForCausalLM": "modeling_foo.Foo"}
    changed(model, model_type="foonet", auto_map=own)
    assert "start with --trust-remote-code if you trust it" in complaint(model)


def an_encoder(path: Path) -> None:
    small = BertConfig(
        vocab_size=16,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertForMaskedLM(small).save_pretrained(path)


def a_translator(path: Path) -> None:
    T5ForConditionalGeneration(
        T5Config(vocab_size=16, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(path)


def a_classifier(path: Path) -> None:
    kind: Any = LlamaForSequenceClassification  # its constructor is not annotated
    kind(tiny_model().config).save_pretrained(path)


@pytest.mark.parametrize("make", [an_encoder, a_translator, a_classifier])
def test_a_model_that_does_not_continue_text(model: Path, make: Callable[[Path], None]) -> None:
    make(model)
    assert "is no causal language model" in complaint(model)


def test_a_checkpoint_that_lacks_weights(model: Path) -> None:
    words = complaint(changed(model, num_hidden_layers=3))
    assert "lacks weights of its LlamaForCausalLM: model.layers.2." in words


def test_weights_of_another_shape(model: Path) -> None:
    assert "cannot be loaded" in complaint(changed(model, hidden_size=64))


def test_a_tokenizer_that_cannot_be_read(model: Path) -> None:
    (model / "tokenizer.json").write_text("{}")
    assert "cannot be loaded" in complaint(model)


@pytest.mark.slow
def test_no_network_is_asked(model: Path) -> None:
    argv = [sys.executable, "-c", NO_NETWORK, str(model)]
    subprocess.run(argv, check=True, timeout=120)
