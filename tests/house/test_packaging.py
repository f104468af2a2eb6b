"""The wheel holds every room, and rooms that must not load torch do not."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import danlu

ROOT = Path(danlu.__file__).parent
ROOMS = ("adapters", "cli", "controller", "training", "webui", "worker")


def test_every_folder_with_code_is_a_package_of_the_wheel() -> None:
    listed = set(_pyproject()["tool"]["setuptools"]["packages"])
    found = {"danlu"}
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            found.add(".".join(["danlu", *init.parent.relative_to(ROOT).parts]))
    assert listed == found


def test_data_that_lies_beside_code_is_in_the_wheel() -> None:
    listed = _pyproject()["tool"]["setuptools"]["package-data"]
    found = {"danlu": ["py.typed"]}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*"):
            if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts:
                package = ".".join(["danlu", *file.parent.relative_to(ROOT).parts])
                found.setdefault(package, []).append(file.name)
    assert listed == {package: sorted(names) for package, names in found.items()}


def test_no_code_lies_beside_the_rooms() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


def test_static_tools_find_every_room() -> None:
    links = {path.name: path.resolve() for path in (ROOT / ".src" / "danlu").iterdir()}
    assert links == {name: ROOT / name for name in (*ROOMS, "__init__.py", "py.typed")}


def test_every_program_starts_without_torch() -> None:
    """Controller and page never load it; worker and command only once their settings are good."""
    code = (
        "import sys, danlu.controller.__main__, danlu.controller.api.__main__, danlu.cli.__main__, "
        "danlu.webui.__main__, danlu.worker.__main__, danlu.training.__main__, "
        "danlu.cli.train.launching; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_holds_back_what_gradio_cannot_live_with() -> None:
    lock = (ROOT / "constraints.txt").read_text()
    pins = dict(line.split("==") for line in lock.splitlines() if "==" in line)
    assert pins["gradio"] == "3.41.0"
    assert int(pins["starlette"].split(".")[0]) < 1
    assert int(pins["websockets"].split(".")[0]) < 12
    assert "torch_npu" not in pins


def _pyproject() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
