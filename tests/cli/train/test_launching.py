"""`danlu train`: which program it becomes, and what it refuses before that."""

import shlex
import sys
from collections.abc import Sequence

import pytest

from danlu.adapters.errors import StartError
from danlu.cli.train.launching import TORCHRUN, TrainSettings, command_for, main
from danlu.training.asking import asked
from danlu.training.settings import TrainingSettings

NEEDED = "--model-path M --data-path D --output-dir O"


def command(flags: str = "", **environ: str) -> list[str]:
    return command_for(shlex.split(f"{NEEDED} {flags}"), environ)


def test_one_process_is_the_training_itself() -> None:
    assert command() == [
        sys.executable,
        "-m",
        "danlu.training",
        "--model_name_or_path=M",
        "--data_path=D",
        "--output_dir=O",
    ]


@pytest.mark.parametrize(
    "flag", ["--num-gpus 2", "--nproc 2", "--num_npus=2", "--nproc_per_node 2"]
)
def test_several_are_started_by_torchrun_on_this_machine_alone(flag: str) -> None:
    assert command(flag)[:9] == [
        sys.executable,
        "-m",
        *TORCHRUN,
        "--nproc-per-node=2",
        "-m",
    ]
    assert command(flag)[9:] == command()[2:]


def test_the_training_is_asked_what_the_command_was_asked() -> None:
    flags = (
        "--lora_target_modules a b --fp16 --run_name 'my run' --eval_strategy no "
        "--dataloader_num_workers 4 --save_safetensors True --num-gpus 2 --seed 3"
    )
    passed = command(flags)[10:]
    wanted = asked(TrainSettings, shlex.split(f"{NEEDED} {flags}"), {})
    found = asked(TrainingSettings, passed, {})
    names = TrainingSettings.__dataclass_fields__
    assert [getattr(found.settings, name) for name in names] == [
        getattr(wanted.settings, name) for name in names
    ]
    assert found.notes == wanted.notes


def test_what_a_variable_says_is_said_to_the_training() -> None:
    assert "--seed=5" in command(DANLU_TRAIN_SEED="5")


def test_the_command_is_replaced_by_its_program() -> None:
    became: list[Sequence[str]] = []
    main(shlex.split(NEEDED), become=lambda program, argv: became.append([program, *argv]))
    assert became == [[sys.executable, *command()]]


def test_a_program_that_cannot_be_started_is_one_sentence() -> None:
    def become(program: str, argv: Sequence[str]) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(StartError, match="cannot start .*: No such file or directory"):
        main(shlex.split(NEEDED), become=become)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "give --model_name_or_path DIR, --data_path FILE, --output_dir DIR"),
        ([*shlex.split(NEEDED), "--nproc", "0"], "--num-gpus wants at least 1, not 0"),
        ([*shlex.split(NEEDED), "--deepspeed", "x.json"], "--deepspeed is not supported"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(argv: list[str], sentence: str) -> None:
    with pytest.raises(StartError) as caught:
        main(argv, become=lambda *_: pytest.fail("started"))
    assert sentence in str(caught.value)
