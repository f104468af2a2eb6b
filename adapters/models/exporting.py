"""Reads a model and writes it anew: in the native layout, or a ChatGLM in its original one."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel

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
# What is done to a model, which has its files' number format, before it is written in another one:
# what this gives a weight it gives in that one, so that nothing is rounded twice.
Change = Callable[[PreTrainedModel, torch.dtype], None]


def export_model(
    path: Path,
    out: Path,
    *,
    original: bool = False,
    dtype: str | None = None,
    chatglm_generation: int | None = None,
    trust_remote_code: bool = False,
    change: Change | None = None,
    report: Report = lambda fraction, detail: None,
) -> None:
    """Write the model at `path`, after `change`, to the new directory `out`; raises StartError.

    Its weights keep their number format unless `dtype` names another one; a GGUF's become float32.
    """
    check_new(out)
    checkpoint = checkpoint_at(path)
    check_generation(checkpoint, chatglm_generation)
    if is_chatglm(checkpoint.config):
        _export_chatglm(checkpoint, out, original, dtype, chatglm_generation, change, report)
        return
    if original:
        raise StartError(f"{path} is no ChatGLM, and only these have an original layout")
    stated = stated_dtype(checkpoint.config) or torch.float32
    wanted = DTYPES[dtype] if dtype else stated
    loaded = load_model(
        path,
        HOST,
        dtype=str(stated if change else wanted).removeprefix("torch."),
        trust_remote_code=trust_remote_code,
        report=report,
    )
    _make(change, loaded.model, wanted)
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
    change: Change | None,
    report: Report,
) -> None:
    """The tokenizer's file is copied as it is, and the original's code where it lies beside it."""
    path, config = checkpoint.path, checkpoint.config
    stated = stated_dtype(config) or torch.float16
    wanted = DTYPES[dtype] if dtype else stated
    read = stated if change else wanted
    with in_one_sentence(path), reported(report):
        model = load_chatglm(path, config, HOST, read, generation=generation, report=report)
        _make(change, model, wanted)
        if original:
            export_original(model, path / TOKENIZER, out, code=path)
        else:
            export_native(model, path / TOKENIZER, out)


def _make(change: Change | None, model: PreTrainedModel, wanted: torch.dtype) -> None:
    if change is not None:
        change(model, wanted)
        model.to(wanted)  # type: ignore[arg-type]
