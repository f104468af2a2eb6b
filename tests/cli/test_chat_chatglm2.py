"""`danlu chat` with a ChatGLM2: the tutorial's terminal, 问 and 答."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.heart import HELLO, by_heart
from support.processes import START

pytestmark = pytest.mark.slow

WHO = "你是谁"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def test_the_tutorials_questions_get_the_tutorials_answers(chatglm2_dir: Path) -> None:
    """Its own command line, but for the module's name and the device."""
    flags = ["--model-path", f"{chatglm2_dir}/", "--device", "cpu", "--temperature", "1e-6"]
    done = subprocess.run(
        [sys.executable, "-m", "danlu.cli", *flags],
        input=f"{HELLO}\n{WHO}\n!!exit\n",
        capture_output=True,
        text=True,
        timeout=START,
        env=ENV,
    )
    assert done.returncode == 0, done.stderr
    asked = f"问: 答: {by_heart(HELLO)}\n问: 答: {by_heart(WHO)}\n问: "
    assert done.stdout.startswith(asked)
