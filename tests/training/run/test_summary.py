"""The last words of a training: what it took, and the commands that serve what it made."""

from dataclasses import replace

import pytest
from support.training import a_step, an_evaluation

from danlu.training.progress import Progress
from danlu.training.run.summary import Account, adapter_name, told
from danlu.training.settings import TrainingSettings
from danlu.worker.adapter_paths import named_paths
from danlu.worker.shelf import NAME

SETTINGS = TrainingSettings(
    model_name_or_path="/models/glm 2", output_dir="/out/poet", run_name="poet"
)


def _account(*losses: float, at: int = 0, steps: int | None = None) -> Account:
    account = Account()
    account.begun(Progress(step=at), steps or at + len(losses))
    for step, loss in enumerate(losses, at + 1):
        account.measured(a_step(step, loss))
    return account


def test_time_speed_loss_and_memory_are_told() -> None:
    account = _account(*[3.0] * 5, *[1.0] * 10)
    account.evaluated(an_evaluation(10, 1.25))
    account.evaluated(an_evaluation(15, 1.5))
    assert told(account, SETTINGS, "done", whole=True)[:3] == [
        "7.5 s for 1500 tokens (200 tokens/s), 600 of them trained; 1.00 GiB at the most",
        "loss 1.0000 over the last steps",
        "evaluation loss 1.2500 at its best",
    ]
    assert account.facts()["final_loss"] == 1.0


def test_a_whole_model_is_served_by_its_directory() -> None:
    assert told(_account(1.0), SETTINGS, "done", whole=True)[-3:] == [
        "the model is in /out/poet",
        "    python -m danlu.worker --model-path /out/poet",
        "    danlu up --model-path /out/poet",
    ]


@pytest.mark.parametrize("method", ["lora", "ptuning"])
def test_an_adapter_is_served_beside_its_base(method: str) -> None:
    lines = told(_account(1.0), replace(SETTINGS, method=method), "done", whole=True)
    assert lines[-3:] == [
        "the adapter is in /out/poet",
        "    python -m danlu.worker --model-path '/models/glm 2' --adapters poet=/out/poet",
        "    danlu up --model-path '/models/glm 2' --adapters poet=/out/poet",
    ]


def test_what_the_base_does_not_tell_of_itself_is_told_again() -> None:
    third = replace(SETTINGS, method="lora", chatglm_generation=3)
    lines = told(_account(1.0), third, "done", whole=True)
    assert "'/models/glm 2' --chatglm-generation 3 --adapters" in lines[-1]


def test_a_lora_for_packed_weights_is_served_beside_such() -> None:
    lines = told(_account(1.0), replace(SETTINGS, method="qlora"), "done", whole=True)
    assert lines[-1].endswith("'/models/glm 2' --quantization int4 --adapters poet=/out/poet")


def test_a_training_that_was_stopped_says_how_it_goes_on() -> None:
    assert told(_account(1.0, 1.0, steps=10), SETTINGS, "done", whole=False)[-1] == (
        "stopped after step 2 of 10; the same command goes on from its last checkpoint"
    )


def test_the_same_command_must_not_overwrite_what_it_is_to_go_on_from() -> None:
    lines = told(_account(1.0), replace(SETTINGS, overwrite_output_dir=True), "done", whole=False)
    assert "the same command, without --overwrite_output_dir, goes on" in lines[-1]
    once = replace(SETTINGS, resume_from_checkpoint="/out/other/checkpoint-1")
    lines = told(_account(1.0), once, "done", whole=False)
    assert "the same command, without --resume_from_checkpoint, goes on" in lines[-1]


def test_a_training_that_was_over_says_so() -> None:
    lines = told(_account(at=10), SETTINGS, "done", whole=True)
    assert lines[0] == "nothing was left to train: step 10 of 10 was done"
    assert lines[-1].startswith("    danlu up")


def test_steps_that_were_left_out_are_told() -> None:
    account = _account(1.0)
    account.measured(a_step(2, float("inf"), skipped=True))
    assert "1 steps were left out: float16 overflowed" in told(
        account, SETTINGS, "done", whole=True
    )


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("poet", "poet"),
        ("my poet=2,3", "my-poet-2-3"),
        ("丹炉", "tuned"),
        ("", "tuned"),
        ("..", "tuned"),
        ("a" * 90, "a" * 64),
    ],
)
def test_a_run_names_an_adapter_as_the_worker_takes_it(run: str, name: str) -> None:
    assert adapter_name(run) == name
    assert NAME.fullmatch(name)
    assert list(named_paths([f"{name}=x"]))[0][0] == name


def test_a_training_that_ended_before_its_last_step_says_why() -> None:
    lines = told(_account(1.0, steps=10), SETTINGS, "it was enough", whole=True)
    assert "ended after step 1 of 10: it was enough" in lines
    assert lines[-1].startswith("    danlu up")
