"""A model's tokenizer by itself, without a look at its weights. Never asks a network."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .chatglm.config import generation_of, is_chatglm
from .chatglm.loading import load_tokenizer
from .checkpoint import CONFIG, checkpoint_at
from .gguf import load_gguf_tokenizer
from .loading import check_generation, in_one_sentence


def tokenizer_at(
    path: Path, *, trust_remote_code: bool = False, chatglm_generation: int | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer that `load_model` would give for `path`; raises StartError."""
    checkpoint = checkpoint_at(path)
    check_generation(checkpoint, chatglm_generation)
    with in_one_sentence(path):
        if checkpoint.gguf:
            return load_gguf_tokenizer(path)
        if is_chatglm(checkpoint.config):
            where = str(path / CONFIG)
            return load_tokenizer(path, generation_of(checkpoint.config, chatglm_generation, where))
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=trust_remote_code
        )
    return tokenizer
