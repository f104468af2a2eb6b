"""Makes `.venv-npusim`, the environment in which every `import torch` finds simulated NPUs.

It borrows the main environment's packages and adds the torch_npu that matches its torch, the fake
CANN libraries, and what wires them together. Run by the main environment's Python; does nothing
where nothing has changed, and says so where there is no compiler.
"""

import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / ".venv-npusim"
STAMP = ENVIRONMENT / ".installed"
SITE = Path(sysconfig.get_path("purelib", vars={"base": str(ENVIRONMENT)}))
TORCH_NPU = SITE / "torch_npu" / "include"  # its headers, and those of CANN that it brings
LIBRARIES = ENVIRONMENT / "lib" / "cann"

# Libraries of CANN that torch_npu links or opens; all their functions are in the first one.
CANN = "libascendcl"
EMPTY = (
    *("libacl_tdt_channel", "libhccl", "libhcomm", "libopapi", "libnnopbase", "libascend_dump"),
    *("libascend_hal", "libascend_ml", "libdcmi", "libmsprofiler", "libmspti", "libms_tools_ext"),
    *("libacl_op_compiler", "libge_runner", "libgraph"),
)
# An interpreter of that environment sees the main one's packages, editable installs included, and
# has the fake libraries in memory before anything asks for the real ones.
STARTUP = """\
import site; site.addsitedir({main!r})
import npusim.boot
"""
ENTRY_POINTS = "[torch.backends]\nnpusim = npusim.boot:autoload\n"
METADATA = "Metadata-Version: 2.1\nName: npusim\nVersion: 0\n"


def main() -> None:
    if shutil.which("g++") is None:
        print("no g++: the simulated NPU is left out, and the tests on it are skipped")
        return
    version = importlib.metadata.version("torch").partition("+")[0]
    key = fingerprint(version)
    if STAMP.exists() and STAMP.read_text() == key:
        return
    make_environment(version)
    build_cann()
    build_kernels()
    STAMP.write_text(key)


def fingerprint(version: str) -> str:
    """Changes with whatever the environment is made of."""
    digest = hashlib.sha256(f"{version} {SITE} {sysconfig.get_path('purelib')}".encode())
    for file in (Path(__file__), *sorted((HERE / "native").iterdir())):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def make_environment(version: str) -> None:
    venv.create(ENVIRONMENT, clear=True, with_pip=False)
    main = sysconfig.get_path("purelib")
    (SITE / "npusim").symlink_to(HERE)
    (SITE / "npusim.pth").write_text(STARTUP.format(main=main))
    about = SITE / "npusim-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    quiet = ("--quiet", "--disable-pip-version-check")
    where = ("--no-deps", "--only-binary", ":all:", "--target", str(SITE))
    _run(sys.executable, "-m", "pip", "install", *quiet, *where, f"torch_npu=={version}")


def build_cann() -> None:
    """The fake CANN: one library with all functions, and the others' names that lead to it."""
    for folder in ("runtime", "compiler", "opp"):  # which torch_npu looks for
        (LIBRARIES / folder).mkdir(parents=True, exist_ok=True)
    names = (
        *("context.cpp", "runtime.cpp", "recording.cpp", "memory.cpp", "compiled.cpp"),
        *("sockets.cpp", "hccl.cpp"),
    )
    headers = (torch_folder() / "include", TORCH_NPU, TORCH_NPU / "third_party" / "acl" / "inc")
    sources = [HERE / "native" / name for name in names]
    _compile(CANN, *sources, "-std=c++20", *(f"-I{folder}" for folder in headers))
    beside = (f"-L{LIBRARIES}", "-Wl,--no-as-needed", "-lascendcl", "-Wl,-rpath,$ORIGIN")
    for name in EMPTY:
        _compile(name, "-x", "c++", "/dev/null", *beside)


def build_kernels() -> None:
    """What computes; needs torch's headers and libraries, and takes a quarter of a minute."""
    include, library = torch_folder() / "include", torch_folder() / "lib"
    _compile(
        "libnpusim",
        HERE / "native" / "ops.cpp",
        *("-std=c++20", f"-I{include}", f"-I{include}/torch/csrc/api/include"),
        *(f"-I{folder}" for folder in (TORCH_NPU, TORCH_NPU / "third_party" / "acl" / "inc")),
        *(f"-L{library}", f"-Wl,-rpath,{library}", "-lc10", "-ltorch_cpu"),
        *(f"-L{SITE}/torch_npu/lib", "-ltorch_npu"),
        *(f"-L{LIBRARIES}", "-lascendcl", "-Wl,-rpath,$ORIGIN"),
    )


def torch_folder() -> Path:
    found = importlib.util.find_spec("torch")
    assert found and found.origin
    return Path(found.origin).parent


def _compile(name: str, *words: str | Path) -> None:
    to = ("-o", LIBRARIES / f"{name}.so", f"-Wl,-soname,{name}.so")
    _run("g++", "-O1", "-w", "-fPIC", "-shared", *map(str, to), *map(str, words))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
