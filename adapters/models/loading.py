"""Brings a checkpoint and its tokenizer into memory. Never asks a network."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import StartError
from ..kernels.library import Library
from ..kernels.linear import use
from . import facts
from .chatglm.config import NATIVE, generation_of, is_chatglm, is_original
from .chatglm.loading import load_chatglm, load_tokenizer
from .checkpoint import CONFIG, Checkpoint, checkpoint_at
from .formats import chosen_dtype, chosen_packing, stated_dtype
from .gguf import load_gguf
from .progress import Report, reported
from .weight_only.packing import quantise

log = logging.getLogger(__name__)

# Weights of these were trained for something else; some would load all the same, and babble.
OTHER_TASKS = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
    "ForPreTraining",
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model in its device's memory, and what must be known of it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context_length: int
    end_ids: frozenset[int]
    vocabulary: int
    chatglm: int | None = None  # the generation of a model of that family


def load_model(
    path: Path,
    device: str,
    *,
    dtype: str | None = None,
    context_length: int | None = None,
    trust_remote_code: bool = False,
    chatglm_generation: int | None = None,
    quantization: str | None = None,
    packed: bool = True,
    library: Library | None = None,
    report: Report = lambda fraction, detail: None,
) -> LoadedModel:
    """The model at `path` on `device`; raises StartError with what is wrong in one sentence.

    Call it on a thread that is bound to the device: weights are read into the host's memory first,
    because transformers reads them on threads of its own; a ChatGLM's go there on this one. No code
    of a ChatGLM's directory is run, trusted or not. `context_length` can only shorten the model's
    own. If not `packed`, a checkpoint's integers are made dense: a kernel's have no gradients.
    """
    checkpoint = checkpoint_at(path)
    check_generation(checkpoint, chatglm_generation)
    packing = chosen_packing(
        checkpoint,
        device,
        dtype=dtype,
        quantization=quantization,
        chatglm_generation=chatglm_generation,
        packed=packed,
        library=library,
    )
    dtype = str(packing.dtype).removeprefix("torch.") if packing else dtype
    with in_one_sentence(path), reported(report):
        report(0.0, "reading the checkpoint")
        if is_chatglm(checkpoint.config):
            wanted = chosen_dtype(dtype, device, stated_dtype(checkpoint.config))
            generation = generation_of(checkpoint.config, chatglm_generation, str(path / CONFIG))
            # The tokenizer first: it takes no minutes.
            tokenizer: PreTrainedTokenizerBase = load_tokenizer(path, generation)
            model: PreTrainedModel = load_chatglm(
                path,
                checkpoint.config,
                device,
                wanted,
                generation=generation,
                packing=packing,
                report=report,
            )
        else:
            model, tokenizer = _load_other(checkpoint, device, dtype, trust_remote_code)
            if packing is not None:
                quantise(model, packing, device, report)
        report(1.0, f"moving to {device}")
        model.to(device)  # type: ignore[arg-type]
    model.train(False)
    model.requires_grad_(False)
    if library is not None and type(model).__module__.startswith("transformers."):
        use(library, model)
    log.info("model loaded path=%s dtype=%s device=%s", path, model.dtype, device)
    return LoadedModel(
        model,
        tokenizer,
        _context(model, tokenizer, context_length),
        facts.end_ids(model, tokenizer),
        facts.vocabulary(model),
        getattr(model.config, NATIVE, None),
    )


def check_generation(checkpoint: Checkpoint, wanted: int | None) -> None:
    """The flag is for models of this family that do not say themselves; raises StartError."""
    if wanted is None or is_original(checkpoint.config):
        return
    flag, path = f"--chatglm-generation {wanted}", checkpoint.path
    if not is_chatglm(checkpoint.config):
        raise StartError(f"{flag} is for a ChatGLM, and {path} is none; leave it out")
    if checkpoint.config[NATIVE] != wanted:
        found = checkpoint.config[NATIVE]
        raise StartError(f"{flag} does not fit: {path} was written as ChatGLM{found}; leave it out")


def _load_other(
    checkpoint: Checkpoint, device: str, dtype: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if checkpoint.gguf:
        return load_gguf(checkpoint.path, chosen_dtype(dtype, device, None))
    return _load_directory(checkpoint, device, dtype, trust_remote_code)


def _load_directory(
    checkpoint: Checkpoint, device: str, dtype: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    _check_family(checkpoint, trust_remote_code)
    shared: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(checkpoint.path, **shared)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, **shared)
    # With output_loading_info a pair comes back, which the annotations do not tell.
    read: Any = AutoModelForCausalLM.from_pretrained(
        checkpoint.path,
        config=config,
        dtype=chosen_dtype(dtype, device, _stated(config)),
        output_loading_info=True,
        **shared,
    )
    model, found = read
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise StartError(
            f"{checkpoint.path} lacks weights of its {type(model).__name__}: {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        )
    return model, tokenizer


def _check_family(checkpoint: Checkpoint, trust_remote_code: bool) -> None:
    """transformers knows the architecture, or its code is there and trusted; it is a causal LM."""
    config, path = checkpoint.config, checkpoint.path
    kind, code = config.get("model_type") or "", config.get("auto_map") or {}
    names = config.get("architectures") or []
    if names and all(str(name).endswith(OTHER_TASKS) for name in names):
        raise StartError(f"{path} holds a {names[0]}, which is no causal language model")
    if kind in CONFIG_MAPPING and CONFIG_MAPPING[kind] in MODEL_FOR_CAUSAL_LM_MAPPING:
        return
    if "AutoModelForCausalLM" in code or "AutoModel" in code:
        if not trust_remote_code:
            raise StartError(
                f"{path} brings its own code for {kind or 'its'} models; "
                "start with --trust-remote-code if you trust it"
            )
        return
    if kind in CONFIG_MAPPING:
        raise StartError(f"{path} is a {kind} model, which is no causal language model")
    raise StartError(
        f"{path} is a {kind!r} model, which transformers {transformers.__version__} does not know"
    )


def _stated(config: PretrainedConfig) -> torch.dtype | None:
    dtype = getattr(config.get_text_config(), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else None


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: int | None) -> int:
    limit = facts.stated_length(model.config)
    if wanted is None:
        return facts.context_length(model.config, tokenizer)
    if limit is not None and wanted > limit:
        raise StartError(
            f"--context-length {wanted} is more than the {limit} tokens that the model is made for"
        )
    return wanted


@contextmanager
def in_one_sentence(path: Path) -> Iterator[None]:
    """Anything may go wrong in a foreign file; whoever starts a program wants one sentence."""
    try:
        yield
    except StartError:
        raise
    except Exception as exc:
        log.debug("loading failed", exc_info=True)
        raise StartError(f"{path} cannot be loaded: {_reason(exc)} ({type(exc).__name__})") from exc


def _reason(exc: Exception) -> str:
    """The first line of what it says; where that only announces the next, both."""
    first, *rest = [line.strip() for line in str(exc).splitlines() if line.strip()] or ["no reason"]
    return f"{first} {rest[0]}" if rest and first.endswith(":") else first
