"""`danlu doctor` itself: its flags, its status, and that a broken torch does not break it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import Program
from support.starving import a_library

from danlu.adapters.errors import StartError
from danlu.cli.__main__ import command
from danlu.cli.doctor.program import language

BROKEN = "raise ImportError('libhccl.so: cannot open shared object file')"


def doctor(*flags: str, status: int = 0, env: dict[str, str] | None = None) -> str:
    """What it printed, tables and all, in a terminal of 80 columns."""
    environ = {"COLUMNS": "80", "LC_ALL": "C.UTF-8", **(env or {})}
    with Program.ours("danlu.cli", "doctor", *flags, env=environ) as program:
        assert program.wait_to_end() == status, program.output
        assert "Traceback (most" not in program.output.partition('"facts"')[0]
        return program.output


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--device", "xpu"], "^--device 'xpu' is not supported; one of auto, cpu"),
        (["--device", "npu:"], "^--device 'npu:' is not supported"),
        (["--lang", "fr"], "^--lang wants one of auto, en, zh, both"),
        (["--fix"], "unrecognized arguments: --fix"),
    ],
)
def test_a_bad_flag_is_refused_before_anything_is_looked_at(
    flags: list[str], sentence: str
) -> None:
    with pytest.raises(StartError, match=sentence):
        command(["doctor", *flags])


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "en"),
    ],
)
def test_the_language_is_that_of_other_programs(environ: dict[str, str], chosen: str) -> None:
    assert language(environ) == chosen


@pytest.mark.slow
def test_on_this_machine_it_reports_without_a_traceback() -> None:
    text = doctor("--device", "cpu", "--lang", "both")
    assert "danlu" in text and "torch" in text
    assert "Nothing keeps it from serving. 没有发现会影响服务的问题。" in text


@pytest.mark.slow
def test_without_an_npu_it_says_so_and_that_is_no_failure() -> None:
    report = json.loads(doctor("--json"))
    if any(finding["id"] == "no-npu" for finding in report["findings"]):
        assert report["ok"]
    else:
        assert report["facts"]["nodes"] or report["facts"]["cann"]["set_env"]


@pytest.mark.slow
def test_a_torch_that_cannot_be_imported_is_a_finding_and_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(BROKEN)
    report = json.loads(
        doctor("--json", "--device", "cpu", status=1, env={"PYTHONPATH": str(tmp_path)})
    )
    assert report["findings"][0]["id"] == "fault-cann-unknown"
    assert not report["ok"]


@pytest.mark.slow
def test_a_library_without_room_is_found_with_the_line_that_cures_it(tmp_path: Path) -> None:
    library = a_library()
    (tmp_path / "gradio").mkdir()
    module = f"raise ImportError({library!r} + ': cannot allocate memory in static TLS block')"
    (tmp_path / "gradio" / "__init__.py").write_text(module)
    report = json.loads(doctor("--json", "--device", "cpu", env={"PYTHONPATH": str(tmp_path)}))
    (finding,) = (one for one in report["findings"] if one["id"] == "static-tls")
    assert finding["command"] == f"export LD_PRELOAD={library}"


@pytest.mark.slow
def test_a_terminal_without_chinese_still_gets_the_rest() -> None:
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    text = doctor("--device", "cpu", "--lang", "both", env=env)
    assert "this terminal speaks ascii, not UTF-8" in text


@pytest.mark.slow
def test_it_does_not_import_torch_itself() -> None:
    code = (
        "import sys; from danlu.cli.__main__ import command; command(['doctor', '--json']);"
        "sys.exit(3 if {'torch', 'transformers', 'gradio'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
