"""Puts simulated NPUs under torch_npu. Imported at the start of every interpreter, before torch."""

import ctypes
import os
import sys
from importlib import import_module
from pathlib import Path

LIBRARIES = Path(sys.prefix) / "lib" / "cann"
VARIABLES = {
    "ASCEND_HOME_PATH": str(LIBRARIES),  # as after `source set_env.sh`
    "ASCEND_OPP_PATH": str(LIBRARIES / "opp"),
    "ASCEND_GLOBAL_LOG_LEVEL": "4",
    "TASK_QUEUE_ENABLE": "0",  # the queue's consumer spins on a core; now the caller launches
}


def preload() -> None:
    """The fake CANN, in memory under the real one's names: who links or opens those gets these."""
    os.environ.update({name: os.environ.get(name, value) for name, value in VARIABLES.items()})
    for library in sorted(LIBRARIES.glob("lib*.so")):
        if library.name != "libnpusim.so":
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    from . import threads

    threads.mark_all()


def autoload() -> None:
    """Called by torch, at the end of its own import, as the backends of real machines are."""
    from . import threads

    import_module("torch_npu")  # the unmodified wheel

    ctypes.CDLL(str(LIBRARIES / "libnpusim.so")).npusim_compute()
    threads.watch()


preload()
