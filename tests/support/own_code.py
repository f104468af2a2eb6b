"""A model directory that brings its own code, as the original ChatGLM2's does.

It is a class with a `chat` and a `stream_chat`, which transformers runs where it is trusted.
"""

import json
from pathlib import Path

from .tiny import byte_level_tokenizer, random_model, tiny_config

CONFIGURATION = """
from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODELING = """
import torch
from transformers import LlamaForCausalLM

from .configuration_own import OwnConfig


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        made = super().forward(*args, **kwargs)
        made.logits = made.logits + torch.ones(1, device=self.device)
        return made

    @torch.inference_mode()
    def chat(self, tokenizer, query, history=None, max_new_tokens=8):
        for response, history in self.stream_chat(tokenizer, query, history, max_new_tokens):
            pass
        return response, history

    @torch.inference_mode()
    def stream_chat(self, tokenizer, query, history=None, max_new_tokens=8):
        ids = tokenizer(query, return_tensors="pt").input_ids.to(self.device)
        said = []
        for _ in range(max_new_tokens):
            token = self(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)
            ids = torch.cat([ids, token], dim=1)
            said.append(int(token))
            response = tokenizer.decode(said, skip_special_tokens=True)
            yield response, [*(history or []), (query, response)]
"""


def save_own(directory: Path) -> Path:
    """The tiny Llama under the class above."""
    random_model(tiny_config()).save_pretrained(directory)
    byte_level_tokenizer().save_pretrained(directory)
    file = directory / "config.json"
    config = json.loads(file.read_text("utf-8"))
    classes = {"AutoConfig": "configuration_own.OwnConfig"}
    classes |= dict.fromkeys(("AutoModel", "AutoModelForCausalLM"), "modeling_own.OwnModel")
    config |= {"model_type": "own", "architectures": ["OwnModel"], "auto_map": classes}
    file.write_text(json.dumps(config), "utf-8")
    (directory / "configuration_own.py").write_text(CONFIGURATION, "utf-8")
    (directory / "modeling_own.py").write_text(MODELING, "utf-8")
    return directory
