"""What is wrong with a worker's settings is said before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import lay_checkpoint

from danlu.adapters.errors import StartError
from danlu.worker.checks import checked
from danlu.worker.settings import WorkerSettings


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(lay_checkpoint(tmp_path))


def refusal(**settings: Any) -> str:
    with pytest.raises(StartError) as caught:
        checked(WorkerSettings(**settings))
    return str(caught.value)


def test_no_path_at_all() -> None:
    assert refusal().startswith("--model-path is missing; give the directory")


def test_a_path_that_does_not_exist() -> None:
    said = refusal(model_path="/no/such/model")
    assert said.startswith("--model-path '/no/such/model' does not exist; give the directory")


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    assert "is no model directory: it has no config.json" in refusal(model_path=str(tmp_path))


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04")
    assert "is a file but no GGUF; give the directory" in refusal(model_path=str(file))


def test_a_model_that_was_fetched_in_part(model: str) -> None:
    weights = Path(model, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.safetensors" in refusal(model_path=model)


def test_a_gguf_file_is_a_model(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    assert checked(WorkerSettings(model_path=str(file))).names == ("model",)


def test_memory_for_adapters_where_there_are_none(model: str, tmp_path: Path) -> None:
    said = refusal(model_path=model, adapter_memory=0.5)
    assert said.startswith("--adapter-memory 0.5 is for adapters, and there are none; give --adap")
    checked(WorkerSettings(model_path=model, adapter_memory=0.5, adapter_dir=str(tmp_path)))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "npu", "npu:1", "cuda:15"])
def test_a_device_that_we_have(device: str, model: str) -> None:
    assert checked(WorkerSettings(model_path=model, device=device)).device == device


@pytest.mark.parametrize("device", ["mps", "xpu", "npu:", "npu:x", "cpu:0", "NPU", ""])
def test_a_device_that_we_do_not_have(device: str, model: str) -> None:
    said = refusal(model_path=model, device=device)
    assert said.startswith(f"--device {device!r} is not supported; one of auto, cpu, cuda, npu")


@pytest.mark.parametrize(
    ("device", "kind"), [("npu", "npu"), ("cuda:1", "cuda"), ("auto", "npu"), ("cpu", "npu")]
)
def test_a_worker_serves_one_card(device: str, kind: str, model: str) -> None:
    """What is said to be right is a device that there is."""
    said = refusal(model_path=model, device=device, num_gpus=2)
    assert f"start one worker a card, with --device {kind}:0 and so on" in said
    assert said.endswith(f"or all of them with danlu up --device {kind} --num-gpus 2")
    said = refusal(model_path=model, device=device, gpus="0,1")
    assert "start one worker a card, with --gpus 0 and so on" in said
    assert said.endswith(f"or all of them with danlu up --device {kind} --gpus 0,1")
    said = refusal(model_path=model, device=device, gpus="all")
    assert said.endswith(f"or all of them with danlu up --device {kind} --gpus 0,1")


def test_gpus_chooses_the_card(model: str) -> None:
    assert checked(WorkerSettings(model_path=model, device="npu", gpus="3")).device == "npu:3"
    assert checked(WorkerSettings(model_path=model, gpus="3")).device == "auto:3"


@pytest.mark.parametrize("gpus", ["0", "0,1"])
def test_vllm_has_to_know_whose_cards_are_meant(gpus: str, model: str) -> None:
    said = refusal(model_path=model, engine="vllm", gpus=gpus)
    assert said == f"--gpus {gpus} needs --device cuda or npu, not 'auto'"
    named = WorkerSettings(model_path=model, engine="vllm", device="npu", gpus=gpus)
    assert checked(named).device == f"npu:{gpus}"


@pytest.mark.parametrize("device", ["cpu", "npu:1"])
def test_gpus_that_would_mean_nothing_is_refused(device: str, model: str) -> None:
    said = refusal(model_path=model, device=device, gpus="0")
    assert said == f"--gpus 0 needs --device cuda or npu, not {device!r}"


def test_a_revision_is_for_a_hub(model: str) -> None:
    assert "--revision 'v2' chooses a version on a model hub" in refusal(
        model_path=model, revision="v2"
    )


def test_a_template_that_fastchat_does_not_have(model: str) -> None:
    assert "--conv-template 'glm9' " in refusal(model_path=model, conv_template="glm9")


@pytest.mark.parametrize("address", ["localhost:21001", "http://[::1", "http://c:99999"])
def test_an_address_that_nobody_could_call(address: str, model: str) -> None:
    said = refusal(model_path=model, controller_address=("http://good:1", address))
    assert said.startswith("--controller-address wants a URL such as http://")
    assert repr(address) in said
    said = refusal(model_path=model, worker_address="10.0.0.1:21002")
    assert said.startswith("--worker-address wants a URL such as http://")


def test_nobody_to_register_with(model: str) -> None:
    said = refusal(model_path=model, controller_address=())
    assert said == "--controller-address is empty; give one, or --no-register"
    assert checked(WorkerSettings(model_path=model, controller_address=(), no_register=True))


def test_addresses_lose_their_last_slash(model: str) -> None:
    settings = checked(
        WorkerSettings(
            model_path=model, worker_address="http://w:1/", controller_address=("http://c:2/",)
        )
    )
    assert settings.worker_address == "http://w:1"
    assert settings.controller_address == ("http://c:2",)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, None),
        ({"load_8bit": True}, "int8"),
        ({"load_8bit": True, "quantization": "int8"}, "int8"),
        ({"quantization": "int4"}, "int4"),
    ],
)
def test_fastchats_flag_and_ours_are_one(
    given: dict[str, Any], meant: str | None, model: str
) -> None:
    settings = checked(WorkerSettings(model_path=model, **given))
    assert (settings.quantization, settings.load_8bit) == (meant, False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [({}, "auto"), ({"graphs": "on"}, "on"), ({"enforce_eager": True}, "off")],
)
def test_vllms_flag_and_ours_are_one(given: dict[str, Any], meant: str, model: str) -> None:
    settings = checked(WorkerSettings(model_path=model, **given))
    assert (settings.graphs, settings.enforce_eager) == (meant, False)


def test_two_flags_that_contradict_each_other(model: str) -> None:
    said = refusal(model_path=model, graphs="on", enforce_eager=True)
    assert said == "--enforce-eager and --graphs on contradict each other; leave out one"
    said = refusal(model_path=model, load_8bit=True, quantization="int4")
    assert said.startswith("--load-8bit and --quantization int4 contradict each other")


def test_integers_that_we_do_not_have_are_refused_for_a_script_too(model: str) -> None:
    said = refusal(model_path=model, quantization="int3")
    assert said == "quantization 'int3' is unknown; one of int8, int4"
