"""Brings the tiny ChatGLM2 into the cache: trained once from the dialogues here, no network needed.

Loads no torch: the training is a process of its own.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from ..adapters.cache import Say, kept
from ..adapters.errors import StartError
from .running import Done, Hear, last_line, run_heard

NAME = "tiny-chatglm2"
PROGRAM = "danlu.cli.tiny_chatglm2"
TRAIN = 1800.0  # seconds; 80 on an idle core, and some have to share theirs

HERE = Path(__file__).parent
LAYOUT = HERE.parent / "adapters" / "models" / "chatglm"
MADE_FROM = (  # folders and files; their digest is in the name of what is made
    HERE / "tiny_chatglm2",
    *(LAYOUT / name for name in ("export.py", "names.py", "native.py")),
)

RunHeard = Callable[[Sequence[str], float, Hear], Done]


def chatglm2_model(
    root: Path, *, say: Say, run: RunHeard = run_heard, made_from: Sequence[Path] = MADE_FROM
) -> Path:
    """The tiny ChatGLM2's directory below `root`; raises StartError where it cannot be made.

    It lies in a folder that carries the digest, because the last part of its path is the name that
    it is served under.
    """
    name = f"{NAME}-{digest(made_from)}"
    return kept(root, name, partial(_make, say=say, run=run), say=say) / NAME


def digest(made_from: Iterable[Path]) -> str:
    """Sixteen characters that change with any file's name or content."""
    found = hashlib.sha256()
    for source in made_from:
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.suffix in (".py", ".json"):
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                found.update(f"{file.relative_to(source.parent).as_posix()} {content}\n".encode())
    return found.hexdigest()[:16]


def _make(making: Path, say: Say, run: RunHeard) -> Path:
    say("training a tiny ChatGLM2 (a minute or two, once)")
    out = making / "whole"
    done = run([sys.executable, "-m", PROGRAM, str(out / NAME)], TRAIN, say)
    if done.returncode != 0:
        raise StartError(f"the tiny ChatGLM2 cannot be made: {last_line(done)}")
    return out
