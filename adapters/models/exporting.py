"""Reads a model and writes it anew: in the native layout, or a ChatGLM in its original one."""

from pathlib import Path

import torch

from ..errors import StartError
from .chatglm.config import is_chatglm
from .chatglm.export import TOKENIZER, export_native, export_original
from .chatglm.loading import load_chatglm
from .checkpoint import Checkpoint, checkpoint_at
from .directory import check_new, new_directory
from .formats import DTYPES, stated_dtype
from .gguf import save_as_directory
from .loading import check_generation, in_one_sentence, load_model
from .progress import Report, reported

HOST = "cpu"


def export_model(
    path: Path,
    out: Path,
    *,
    original: bool = False,
    dtype: str | None = None,
    chatglm_generation: int | None = None,
    trust_remote_code: bool = False,
    report: Report = lambda fraction, detail: None,
) -> None:
    """Write the model at `path` to the new directory `out`; raises StartError.

    Its weights keep their number format unless `dtype` names another one; a GGUF's become float32.
    """
    check_new(out)
    checkpoint = checkpoint_at(path)
    check_generation(checkpoint, chatglm_generation)
    if is_chatglm(checkpoint.config):
        _export_chatglm(checkpoint, out, original, dtype, chatglm_generation, report)
        return
    if original:
        raise StartError(f"{path} is no ChatGLM, and only these have an original layout")
    stated = stated_dtype(checkpoint.config) or torch.float32
    loaded = load_model(
        path,
        HOST,
        dtype=dtype or str(stated).removeprefix("torch."),
        trust_remote_code=trust_remote_code,
        report=report,
    )
    with new_directory(out) as made, reported(report):
        if checkpoint.gguf:
            save_as_directory(loaded.model, loaded.tokenizer, made)
        else:
            loaded.model.save_pretrained(made)
            loaded.tokenizer.save_pretrained(made)


def _export_chatglm(
    checkpoint: Checkpoint,
    out: Path,
    original: bool,
    dtype: str | None,
    generation: int | None,
    report: Report,
) -> None:
    """The tokenizer's file is copied as it is, and the original's code where it lies beside it."""
    path, config = checkpoint.path, checkpoint.config
    wanted = DTYPES[dtype] if dtype else stated_dtype(config) or torch.float16
    with in_one_sentence(path), reported(report):
        model = load_chatglm(path, config, HOST, wanted, generation=generation, report=report)
        if original:
            export_original(model, path / TOKENIZER, out, code=path)
        else:
            export_native(model, path / TOKENIZER, out)
