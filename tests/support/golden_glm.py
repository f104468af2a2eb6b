"""Where the data made with the original ChatGLM lies: beside a developer's checkout, if at all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import danlu

GOLDEN = Path(danlu.__file__).parent.parent / "shared" / "reference" / "golden" / "chatglm2"
DENSE = ("base", "sharded", "safetensors", "kvch", "mqa1", "nobias", "glm3")
QUANTISED = ("quantized-int4", "quantized-int8")
REFUSED = {  # directory: the field that it is refused for
    "unsupported-biaslin": "add_bias_linear=true",
    "unsupported-layernorm": "rmsnorm=false",
    "unsupported-nofinal": "post_layer_norm=false",
    "unsupported-postres": "apply_residual_connection_post_layernorm=true",
}

needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the data made with the original is not beside this checkout"
)


def config_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / name / "config.json").read_text())
    return found


def facts_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / name / "reference.json").read_text())
    return found


def tensors_of(name: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(GOLDEN / name / "reference.safetensors")
    return found
