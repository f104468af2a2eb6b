"""The run folder: what was asked for, in which environment, and the command that repeats it."""

import getpass
import json
import socket
from pathlib import Path

import pytest

from danlu.adapters.errors import StartError
from danlu.training.asking import asked
from danlu.training.run.environment import environment
from danlu.training.run.folder import RunFolder, command_line
from danlu.training.settings import TrainingSettings

FLAGS = ["--model_name_or_path", "M", "--data_path", "D d", "--output_dir", "O", "--seed", "7"]
TORCHRUN = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}


def test_settings_and_command_are_written_down(tmp_path: Path) -> None:
    settings = asked(TrainingSettings, FLAGS, {}).settings
    folder = RunFolder(tmp_path / "out")
    folder.begin(settings, command_line(FLAGS, {}), {"device": "cpu"})
    told = json.loads((tmp_path / "out/run/settings.json").read_text())
    assert told["command"] == (
        "python -m danlu.training --model_name_or_path M --data_path 'D d' --output_dir O --seed 7"
    )
    assert told["settings"]["seed"] == 7
    assert told["settings"]["data_path"] == ["D d"]
    assert json.loads((tmp_path / "out/run/environment.json").read_text()) == {"device": "cpu"}
    assert len(list(folder.path.iterdir())) == 2


def test_the_command_starts_as_many_processes() -> None:
    assert command_line(["--a"], TORCHRUN).startswith("torchrun --nproc_per_node=2 -m danlu.train")
    wide = {**TORCHRUN, "WORLD_SIZE": "4"}
    assert command_line(["--a"], wide).startswith("torchrun --nnodes=2 --nproc_per_node=2 -m")
    alone = {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    assert command_line(["--a"], alone) == "python -m danlu.training --a"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StartError, match="cannot write to '.*out/run': Not a directory"):
        RunFolder(tmp_path / "out").begin(TrainingSettings(), "", {})


def test_the_environment_names_versions_and_no_machine() -> None:
    facts = environment("cpu", 2)
    assert facts["packages"]["torch"]
    assert (facts["device"], facts["processes"]) == ("cpu", 2)
    told = json.dumps(facts)
    assert str(Path.home()) not in told
    assert socket.gethostname() not in told.split('"') and getpass.getuser() not in told.split('"')
