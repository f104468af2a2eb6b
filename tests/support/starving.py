"""A torch_npu for PYTHONPATH that finds no room for a library unless that library is preloaded."""

from importlib.util import find_spec
from pathlib import Path

MODULE = """
import os
if {enough!r} not in os.environ.get("LD_PRELOAD", ""):
    raise ImportError({library!r} + ": cannot allocate memory in static TLS block")
import torch
class npu:
    is_available = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 0)
torch.npu = npu
"""


def starving(folder: Path, library: str, enough: str | None = None) -> dict[str, str]:
    """The environment of a program in which `import torch_npu` fails for want of room.

    `enough` is what LD_PRELOAD has to contain before it works; `library` if not given.
    """
    package = folder / "torch_npu"
    package.mkdir()
    text = MODULE.format(library=library, enough=library if enough is None else enough)
    (package / "__init__.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def a_library() -> str:
    """A library that is really here and can be preloaded."""
    torch = find_spec("torch")
    assert torch is not None and torch.origin is not None
    return str(next((Path(torch.origin).parent / "lib").glob("libgomp*.so*")))
