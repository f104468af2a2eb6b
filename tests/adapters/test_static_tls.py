"""Libraries without room at import: how they are known, what is preloaded, and that it ends."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from danlu.adapters.devices.npu import NPUs
from danlu.adapters.devices.static_tls import MARK, choose, cure, line, places, said_by, starved
from danlu.adapters.errors import StartError

SEED = (
    "/root/miniconda/envs/torch_npu/bin/../lib/libgomp.so.1: "
    "cannot allocate memory in static TLS block"
)


class Kernel:
    """Takes the place of execve: remembers what would have been started."""

    def __init__(self) -> None:
        self.started: list[tuple[str, list[str], Mapping[str, str]]] = []

    def __call__(self, file: str, argv: list[str], environ: Mapping[str, str]) -> None:
        self.started.append((file, argv, environ))


@pytest.fixture
def library(tmp_path: Path) -> str:
    """A file that can be preloaded."""
    file = tmp_path / "libgomp.so.1"
    file.touch()
    return str(file)


@pytest.mark.parametrize(
    ("text", "library"),
    [
        (SEED, "/root/miniconda/envs/torch_npu/bin/../lib/libgomp.so.1"),
        (f"ImportError: {SEED}", "/root/miniconda/envs/torch_npu/bin/../lib/libgomp.so.1"),
        (
            "/x/scikit_learn.libs/libgomp-d22c30c5.so.1.0.0: "
            "cannot allocate memory in static TLS block",
            "/x/scikit_learn.libs/libgomp-d22c30c5.so.1.0.0",
        ),
        (
            "libGLdispatch.so.0: cannot allocate memory in static TLS block\nmore",
            "libGLdispatch.so.0",
        ),
        (
            "Failed to import it because of this:\n/a b/libtorch_cpu.so: "
            "cannot allocate memory in static TLS block",
            "/a b/libtorch_cpu.so",
        ),
        ("libhccl.so: cannot open shared object file: No such file or directory", None),
        ("cannot allocate memory in static TLS block", None),
        ("", None),
    ],
)
def test_the_library_is_the_one_that_the_error_names(text: str, library: str | None) -> None:
    assert starved(text) == library


def test_the_words_of_a_wrapped_error_are_heard() -> None:
    inner, outer = ImportError(SEED), RuntimeError("Failed to load the backend extension")
    outer.__cause__ = inner
    inner.__context__ = outer  # a circle does not matter
    assert list(said_by(outer)) == [str(outer), SEED]


def test_the_file_itself_comes_first_then_torchs_condas_and_the_systems() -> None:
    found = places(
        "/c/lib/libgomp.so.1", machine="aarch64", prefixes=["/c", ""], torch="/c/site/torch"
    )
    assert found == [
        "/c/lib/libgomp.so.1",
        "/c/site/torch.libs/libgomp*.so*",
        "/c/site/torch/lib/libgomp*.so*",
        "/c/lib/libgomp.so*",
        "/lib/aarch64-linux-gnu/libgomp.so*",
        "/usr/lib/aarch64-linux-gnu/libgomp.so*",
        "/usr/lib64/libgomp.so*",
        "/lib64/libgomp.so*",
        "/usr/lib/libgomp.so*",
        "/usr/local/lib/libgomp.so*",
    ]


def test_a_bare_name_is_looked_for_in_the_folders_only() -> None:
    found = places("libGLdispatch.so.0", machine="x86_64", prefixes=[], torch="")
    assert found[0] == "/lib/x86_64-linux-gnu/libGLdispatch.so*"


@pytest.mark.parametrize(
    ("files", "preloaded", "chosen"),
    [
        (["/a", "/b"], "", "/a"),
        (["/a", "/b"], "/a", "/b:/a"),
        (["/a"], "/x /y", "/a:/x:/y"),
        (["/a"], "/x:/a", None),
        (["/with space", "/with:colon", "/b"], "", "/b"),
        ([], "/x", None),
    ],
)
def test_what_was_preloaded_stays_and_is_not_chosen_again(
    files: list[str], preloaded: str, chosen: str | None
) -> None:
    assert choose(files, preloaded) == chosen


def test_a_library_that_the_error_names_wrongly_is_found_beside_torch() -> None:
    preload = line("/nowhere/libgomp.so.1", {})
    assert preload is not None and Path(preload).is_file() and "libgomp" in preload


def test_the_program_starts_again_as_it_was_started_and_says_so(
    library: str, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = Kernel()
    exc = ImportError(f"{library}: cannot allocate memory in static TLS block")
    with caplog.at_level(logging.WARNING):
        assert cure(exc, environ={"HOME": "/h", "LD_PRELOAD": "/x"}, execute=kernel) is None
    ((file, argv, environ),) = kernel.started
    assert file == sys.executable and argv == [sys.executable, *sys.orig_argv[1:]]
    assert environ == {"HOME": "/h", "LD_PRELOAD": f"{library}:/x", MARK: library}
    (told,) = caplog.messages
    assert told == (f"{library} finds no room (static TLS): starting again LD_PRELOAD={library}:/x")


def test_it_starts_again_once_and_never_twice(library: str) -> None:
    kernel = Kernel()
    exc = ImportError(f"{library}: cannot allocate memory in static TLS block")
    error = cure(exc, environ={MARK: "anything"}, execute=kernel)
    assert isinstance(error, StartError) and kernel.started == []
    assert str(error).endswith(
        f"was started again once; start it with `export LD_PRELOAD={library}`"
    )


def test_without_a_file_to_preload_the_error_names_the_command() -> None:
    kernel = Kernel()
    exc = ImportError("/nowhere/libnosuch.so.1: cannot allocate memory in static TLS block")
    error = cure(exc, environ={}, execute=kernel)
    assert isinstance(error, StartError) and kernel.started == []
    assert "`find / -name 'libnosuch*.so*'`" in str(error)
    assert "\n" not in str(error)


def test_any_other_error_is_left_alone() -> None:
    kernel = Kernel()
    assert cure(ValueError("no such model"), environ={}, execute=kernel) is None
    assert kernel.started == []


def test_auto_does_not_do_without_an_npu_whose_library_can_be_cured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch_npu_without_room.py").write_text(f"raise ImportError({SEED!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StartError, match="torch_npu_without_room cannot be imported.*static TLS"):
        NPUs("torch_npu_without_room")
