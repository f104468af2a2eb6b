"""A flag that the chosen engine would not look at is refused by name; nothing is ignored."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import lay_checkpoint

from danlu.adapters.errors import StartError
from danlu.worker.checks import checked
from danlu.worker.choices import NOT_FOR
from danlu.worker.engines import ENGINES, loader
from danlu.worker.settings import WorkerSettings, worker_settings

UP: dict[str, Any] = {"engine": "upstream", "upstream_url": "http://up/v1"}


def refusal(**settings: Any) -> str:
    with pytest.raises(StartError) as caught:
        checked(WorkerSettings(**settings))
    return str(caught.value)


def test_every_engine_that_can_be_chosen_is_there() -> None:
    (knob,) = (field for field in fields(WorkerSettings) if field.name == "engine")
    assert knob.metadata["choices"] == tuple(ENGINES)
    assert set(NOT_FOR) == set(ENGINES)
    for name in knob.metadata["choices"]:
        assert callable(loader(name))


def test_what_is_refused_are_flags() -> None:
    names = {field.name for field in fields(WorkerSettings)}
    assert {name for refused in NOT_FOR.values() for name in refused} <= names


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {**UP, "dtype": "float16"},
            "--dtype float16 is not honoured by --engine upstream: the upstream has the model",
        ),
        ({**UP, "model_path": "/m"}, "--model-path /m is not honoured by --engine upstream"),
        ({**UP, "trust_remote_code": True}, "--trust-remote-code is not honoured by --engine up"),
        ({"upstream_key": "secret"}, "--upstream-key is not honoured by --engine auto: it is for"),
        ({"engine": "thread", "kv_memory": 1.0}, "--kv-memory 1.0 is not honoured by --engine th"),
        ({**UP, "limit_waiting": 1}, "--limit-waiting 1 is not honoured by --engine upstream: th"),
        (
            {"engine": "thread", "prompt_lookup_num_tokens": 4},
            "--prompt-lookup-num-tokens 4 is not honoured by --engine thread: it is for --engine b",
        ),
        ({**UP, "prompt_lookup_num_tokens": 4}, "--prompt-lookup-num-tokens 4 is not honoured by"),
        ({"engine": "vllm", "prompt_lookup_num_tokens": 4}, "--prompt-lookup-num-tokens 4 is not"),
        (
            {"engine": "thread", "graphs": "on"},
            "--graphs on is not honoured by --engine thread: it",
        ),
        ({**UP, "enforce_eager": True}, "--enforce-eager is not honoured by --engine upstream: th"),
        (
            {"engine": "vllm", "enforce_eager": True},
            "--enforce-eager is not honoured by --engine vllm: vLLM decides that; "
            "--vllm-flags=--enforce-eager tells it",
        ),
        ({"engine": "vllm", "stream_interval": 2}, "--stream-interval 2 is not honoured by --eng"),
        ({"engine": "upstream"}, "--engine upstream needs --upstream-url, such as http://host:p"),
        ({**UP, "upstream_url": "up"}, "--upstream-url wants a URL such as http://"),
        (
            {**UP, "upstream_key": "k", "upstream_key_file": "f"},
            "give --upstream-key or --upstream-key-file, not both",
        ),
    ],
)
def test_a_flag_of_another_engine_is_refused(settings: dict[str, Any], sentence: str) -> None:
    said = refusal(**settings)
    assert said.startswith(sentence)
    assert "secret" not in said


def test_an_upstream_needs_no_model_of_ours() -> None:
    settings = checked(WorkerSettings(**{**UP, "upstream_url": "http://up/v1/"}))
    assert settings.upstream_url == "http://up/v1"
    assert settings.names == ()
    assert WorkerSettings(**UP, model_names=("cat",)).names == ("cat",)


def test_vllm_takes_several_cards_and_a_worker_of_its_own_one(tmp_path: Path) -> None:
    model: dict[str, Any] = {"model_path": str(lay_checkpoint(tmp_path)), "device": "npu"}
    settings = checked(WorkerSettings(engine="vllm", gpus="0,1", num_gpus=2, **model))
    assert settings.device == "npu:0,1"
    assert refusal(gpus="0,1", **model).startswith("--gpus '0,1' is not supported")
    assert refusal(engine="vllm", gpus="0,x", **model).startswith("--gpus '0,x' is not supported")
    assert refusal(num_gpus=2, **model).startswith("--num-gpus 2 is not supported")


def test_an_engine_that_we_do_not_have_is_named() -> None:
    with pytest.raises(StartError, match="--engine wants one of auto, batching, thread, upstream"):
        worker_settings(["--engine", "magic"], {})
