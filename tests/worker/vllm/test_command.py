"""The command line of vLLM, and its cards, from a worker's settings."""

from typing import Any

import pytest

from danlu.adapters.errors import StartError
from danlu.worker.settings import WorkerSettings
from danlu.worker.vllm.command import arguments, environment

CARDS = "ASCEND_RT_VISIBLE_DEVICES"


def line(**settings: Any) -> list[str]:
    return arguments(WorkerSettings(model_path="/m/cat", **settings), "127.0.0.1", 1)


def test_a_model_is_served_under_the_workers_names() -> None:
    begin = ["serve", "/m/cat", "--host", "127.0.0.1", "--port", "1", "--served-model-name"]
    assert line() == [*begin, "cat"]
    assert line(model_names=("a", "b")) == [*begin, "a", "b"]


def test_what_is_set_on_the_worker_is_set_on_vllm() -> None:
    flags = line(dtype="float16", context_length=64, num_gpus=2, trust_remote_code=True)[8:]
    wanted = ["--dtype", "float16", "--max-model-len", "64", "--tensor-parallel-size", "2"]
    assert flags == [*wanted, "--trust-remote-code"]


def test_further_flags_come_last_and_may_be_quoted() -> None:
    assert line(vllm_flags="--x '{\"a\": 1}' --y")[8:] == ["--x", '{"a": 1}', "--y"]


@pytest.mark.parametrize("flag", ["--port 2", "--port=2", "--served-model-name x", "-tp 2"])
def test_what_the_worker_decides_cannot_be_said_again(flag: str) -> None:
    with pytest.raises(StartError, match="--vllm-flags cannot have " + flag.split()[0]):
        line(vllm_flags=flag)


def test_flags_that_cannot_be_taken_apart_are_refused() -> None:
    with pytest.raises(StartError, match="cannot be taken apart: No closing quotation"):
        line(vllm_flags="--x 'a")


@pytest.mark.parametrize(
    ("device", "given", "visible"),
    [
        ("npu:1", None, "1"),
        ("npu:0,1", None, "0,1"),
        ("npu:1", "4,6", "6"),
        ("npu:1,0", "4,6", "6,4"),
        ("npu", "4,6", "4,6"),
        ("auto", None, None),
        ("cpu", None, None),
    ],
)
def test_a_card_counts_among_those_that_are_visible(
    device: str, given: str | None, visible: str | None
) -> None:
    before = {} if given is None else {CARDS: given}
    assert environment(device, before, "k").get(CARDS) == visible


def test_a_gpus_variable_is_cudas() -> None:
    assert environment("cuda:1", {}, "k")["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_card_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match=f"card 2 is not there: {CARDS} leaves 4,6"):
        environment("npu:2", {CARDS: "4,6"}, "k")


def test_the_key_is_in_the_environment_where_nobody_sees_it() -> None:
    assert environment("cpu", {"A": "1"}, "secret") == {
        "A": "1",
        "VLLM_API_KEY": "secret",
        "PYTHONUNBUFFERED": "1",
    }
    assert "secret" not in " ".join(line())
