"""What is read of this machine, and that nothing which is broken stops the reading."""

import json
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from danlu.adapters.host.serving import bind
from danlu.cli.doctor.cann import cann_of
from danlu.cli.doctor.children import ran, run_python
from danlu.cli.doctor.facts import Child
from danlu.cli.doctor.gather import environment_of, firmware_range
from danlu.cli.doctor.model import model_at
from danlu.cli.doctor.ports import listening_ports

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1949337704\n"
SECOND = {"model_type": "chatglm", "multi_query_group_num": 2, "torch_dtype": "float16"}
FIRST = {"model_type": "chatglm", "position_encoding_2d": True, "inner_hidden_size": 16384}


def checkpoint(folder: Path, config: dict[str, object], size: int = 2048) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "pytorch_model.bin").write_bytes(b"\0" * size)
    (folder / "tokenizer.model").write_bytes(b"\0" * 2048)
    return folder


@pytest.mark.slow
def test_what_a_child_prints_last_are_its_words() -> None:
    assert run_python("print('hello'); print(1 + 1)") == Child(True, True, "2")


@pytest.mark.slow
def test_a_child_that_fails_leaves_its_last_words() -> None:
    child = run_python("raise ImportError('libhccl.so')")
    assert child.asked and not child.ok
    assert child.words.splitlines()[-1] == "ImportError: libhccl.so"


@pytest.mark.slow
def test_a_child_that_crashes_or_hangs_is_a_fact() -> None:
    crashed = run_python("import os; os.kill(os.getpid(), 11)")
    assert crashed == Child(True, False, "exit status -11")
    hung = ran([sys.executable, "-c", "input(); import time; time.sleep(60)"], 0.5)
    assert not hung.ok
    assert ran(["/no/such/program"], 1.0).words.startswith("[Errno 2]")


def test_a_chatglm2_as_it_was_published_is_recognised(tmp_path: Path) -> None:
    model = model_at(str(checkpoint(tmp_path, SECOND)))
    assert (model.kind, model.dtype, model.size, model.problem) == ("chatglm2", "float16", 2048, "")


def test_the_first_generation_is_told_from_the_second(tmp_path: Path) -> None:
    assert model_at(str(checkpoint(tmp_path, FIRST))).kind == "chatglm1"


def test_pointers_of_git_lfs_are_told_from_weights(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, SECOND)
    (place / "tokenizer.model").write_text(POINTER)
    (place / "pytorch_model.bin").write_text(POINTER)
    assert model_at(str(place)).pointers == ("pytorch_model.bin", "tokenizer.model")


def test_what_the_index_promises_is_compared_with_what_is_there(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, SECOND)
    index = {"metadata": {"total_size": 4096}, "weight_map": {"x": "pytorch_model.bin"}}
    (place / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    model = model_at(str(place))
    assert (model.size, model.declared) == (2048, 4096)


def test_a_gguf_file_is_a_model(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 60)
    model = model_at(str(file))
    assert (model.kind, model.size, model.problem) == ("gguf", 64, "")


def test_a_model_that_is_not_there_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    assert "does not exist" in model_at(str(tmp_path / "none")).problem
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read as JSON" in model_at(str(tmp_path)).problem


def test_the_version_and_the_paths_of_cann_are_read(tmp_path: Path) -> None:
    info = tmp_path / "aarch64-linux" / "ascend_toolkit_install.info"
    info.parent.mkdir()
    info.write_text("package_name=Ascend-cann-toolkit\nversion=8.3.RC1\n")
    environ = {"ASCEND_HOME_PATH": str(tmp_path), "LD_LIBRARY_PATH": f"/x:{tmp_path}/lib64"}
    cann = cann_of(environ)
    assert (cann.version, cann.home, cann.library_path) == ("8.3.RC1", str(tmp_path), True)
    assert not cann_of({"ASCEND_HOME_PATH": str(tmp_path)}).library_path


def test_who_listens_is_named() -> None:
    with closing(bind("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        (taken,) = listening_ports([port])
    assert (taken.number, taken.pid) == (port, os.getpid())
    assert sys.orig_argv[0] in taken.owner


def test_a_proxys_password_is_not_carried_along() -> None:
    environ = {"http_proxy": "http://me:secret@proxy:3128", "HOME": "/h", "LANG": "C"}
    assert environment_of(environ) == {"http_proxy": "set", "LANG": "C"}


def test_the_range_of_firmware_is_read_as_the_driver_writes_it() -> None:
    assert firmware_range("[7.0.0,7.2.99]") == ("7.0.0", "7.2.99")
    assert firmware_range("") == ()
