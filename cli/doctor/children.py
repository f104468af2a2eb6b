"""Asks what only a process of its own can be asked without harm, within a limit of time.

An import of a broken torch may raise, hang or crash; here it is a fact.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from .facts import Child

SECONDS = 90.0  # for importing torch from a slow disk
LAST = 4000  # characters of a failed child's words that are kept

CHECK_TORCH = "import torch; print(torch.__version__, torch.version.cuda or '')"
CHECK_CARD = """
import torch, torch_npu
assert torch.npu.is_available(), "torch_npu finds no card"
print(torch.npu.device_count(), float(torch.ones(1).npu().cpu()))
"""
CHECK_PAGE = "import gradio; print(gradio.__version__)"


def run_python(code: str, environ: Mapping[str, str] | None = None) -> Child:
    """A child of this interpreter; its words are the last line that it printed."""
    child = ran([sys.executable, "-c", code], SECONDS, environ)
    lines = child.words.strip().splitlines() or [""]
    return Child(child.asked, child.ok, lines[-1].strip() if child.ok else child.words)


def ran(argv: Sequence[str], seconds: float, environ: Mapping[str, str] | None = None) -> Child:
    """What a command printed; where it failed, also what it complained about, at the end."""
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environ or {})},
        )
    except subprocess.TimeoutExpired:
        return Child(True, False, f"no answer within {seconds:.0f} seconds")
    except OSError as exc:
        return Child(True, False, str(exc))
    if done.returncode == 0:
        return Child(True, True, done.stdout)
    words = (done.stdout + done.stderr).strip()[-LAST:]
    return Child(True, False, words or f"exit status {done.returncode}")
