"""Gathers the facts of this machine. The only place that looks; it never raises.

What cannot be read is not there: a fact's value is then that of a machine without the thing.
"""

import getpass
import grp
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from ... import __version__
from ...adapters.devices import static_tls
from .cann import cann_of
from .children import CHECK_CARD, CHECK_PAGE, CHECK_TORCH, ran, run_python
from .facts import Child, Facts, Node
from .model import model_at
from .npu_smi import cards_in
from .ports import listening_ports

DRIVER = Path("/usr/local/Ascend/driver/version.info")
FIRMWARE = Path("/usr/local/Ascend/firmware/version.info")
PCI = Path("/sys/bus/pci/devices")
HUAWEI = "0x19e5"
ACCELERATOR = "0x1200"  # the class of a PCI device
SMI_SECONDS = 30.0
ENVIRONMENT = (  # what of it decides something
    "ASCEND_HOME_PATH",
    "ASCEND_TOOLKIT_HOME",
    "ASCEND_OPP_PATH",
    "ASCEND_RT_VISIBLE_DEVICES",
    "ASCEND_VISIBLE_DEVICES",
    "CONDA_PREFIX",
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "TORCH_DEVICE_BACKEND_AUTOLOAD",
    "no_proxy",
    "NO_PROXY",
)
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def gather(device: str, model_path: str, environ: Mapping[str, str]) -> Facts:
    """Takes as long as importing torch does, and a minute at most for each thing that hangs."""
    packages = _packages()
    version, cuda, torch = _torch(packages)
    alone = Child()
    if torch.asked and not torch.ok:
        alone = run_python(CHECK_TORCH, {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"})
    card = run_python(CHECK_CARD) if "torch_npu" in packages else Child()
    page = run_python(CHECK_PAGE) if "gradio" in packages else Child()
    driver, firmware = _info(DRIVER), _info(FIRMWARE)
    smi = ran(["npu-smi", "info"], SMI_SECONDS) if shutil.which("npu-smi") else Child()
    return Facts(
        device=device,
        machine=platform.machine(),
        user=_user(),
        groups=_groups(),
        container=Path("/.dockerenv").exists() or "container" in environ,
        encoding=getattr(sys.stdout, "encoding", None) or "ascii",
        python=platform.python_version(),
        executable=sys.executable,
        danlu=__version__,
        requires=_requires(),
        packages={**packages, "torch": version} if version else packages,
        environment=environment_of(environ),
        preload=_preload((torch, card, page), environ),
        pci_cards=_pci_cards(),
        driver=driver.get("version", ""),
        firmware=firmware.get("version", ""),
        firmware_range=firmware_range(driver.get("compatible_version_fw", "")),
        nodes=_nodes(),
        smi=Child(smi.asked, smi.ok, "" if cards_in(smi.words) else smi.words),
        cards=cards_in(smi.words),
        cann=cann_of(environ),
        torch=torch,
        torch_alone=alone,
        torch_npu=card,
        page=page,
        cuda_build=cuda,
        memory=_memory(),
        ports=listening_ports(),
        model=model_at(model_path) if model_path else None,
    )


def _torch(packages: Mapping[str, str]) -> tuple[str, str, Child]:
    """torch's own version (with +cpu), the CUDA that it is built for, and how the import went."""
    if "torch" not in packages:
        return "", "", Child()
    child = run_python(CHECK_TORCH)
    if not child.ok:
        return "", "", child
    version, _, cuda = child.words.partition(" ")
    return version, cuda, child


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        name = str(package.metadata["Name"] or "").lower().replace("-", "_").replace(".", "_")
        if name and name not in found:  # the first one on the path is the one that is imported
            found[name] = package.version or ""
    return dict(sorted(found.items()))


def _requires() -> tuple[str, ...]:
    try:
        return tuple(importlib.metadata.requires("danlu") or ())
    except importlib.metadata.PackageNotFoundError:
        return ()


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Of a proxy only that it is set: its address may carry a password."""
    plain = {name: environ[name] for name in ENVIRONMENT if name in environ}
    return plain | {name: "set" for name in PROXIES if environ.get(name)}


def _preload(children: tuple[Child, ...], environ: Mapping[str, str]) -> str:
    for child in children:
        library = None if child.ok else static_tls.starved(child.words)
        if library:
            return static_tls.line(library, environ) or ""
    return ""


def _nodes() -> tuple[Node, ...]:
    names = ["davinci_manager", "devmm_svm", "hisi_hdc"]
    paths = [*Path("/dev").glob("davinci[0-9]*"), *(Path("/dev") / name for name in names)]
    found = [path for path in paths if path.exists()]
    return tuple(
        Node(str(path), os.access(path, os.R_OK | os.W_OK), _group(path)) for path in found
    )


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, OSError):
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _groups() -> tuple[str, ...]:
    names = []
    for number in os.getgroups():
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            names.append(str(number))
    return tuple(names)


def _pci_cards() -> int:
    return sum(
        _text(device / "vendor").strip() == HUAWEI
        and _text(device / "class").startswith(ACCELERATOR)
        for device in (PCI.iterdir() if PCI.is_dir() else ())
    )


def _info(path: Path) -> dict[str, str]:
    """A version.info of CANN's: lines of name=value."""
    lines = (line.partition("=") for line in _text(path).splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def firmware_range(text: str) -> tuple[str, ...]:
    """[7.0.0,7.2.99]"""
    parts = tuple(part.strip() for part in text.strip("[] ").split(","))
    return parts if len(parts) == 2 else ()


def _memory() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
