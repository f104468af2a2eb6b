"""From a command line to settings that can be trained with, or a sentence that says why not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from ..adapters.errors import StartError
from ..adapters.host.settings import flag_name, given_settings
from ..adapters.models.checkpoint import checkpoint_at
from .flags import IDLE, OFF, REFUSED
from .parallel.plan import plan_of
from .settings import PREFIX, TrainingSettings

LORAS = ("lora", "qlora")
OF_LORA = ("q_lora", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "--lora-bias")
OF_PTUNING = ("pre_seq_len", "prefix_projection")


S = TypeVar("S", bound=TrainingSettings)


@dataclass(frozen=True, slots=True)
class Asked(Generic[S]):
    """What a command line asks for. `notes` are sentences on what of it changes nothing, `given`
    the texts that were given: by field, and by flag those that are not settings."""

    settings: S
    notes: list[str]
    given: Mapping[str, str]


def asked(
    kind: type[S],
    argv: Sequence[str],
    environ: Mapping[str, str],
    prog: str = "python -m danlu.training",
) -> Asked[S]:
    """Settings that can be trained with, each thing said in one word.

    Raises StartError for what is illegal, unknown, refused or contradicts itself. Looks at no file.
    """
    settings, given = given_settings(
        kind,
        argv,
        environ,
        PREFIX,
        prog=prog,
        refused=REFUSED,
        off=OFF,
        idle=IDLE,
        as_transformers=True,
    )
    method, notes = _method(settings, given)
    saving, more = _saving(settings, given)
    settings = _plain(replace(settings, method=method, save_strategy=saving), given)
    plan_of(settings.fsdp)
    for wrong in _contradictions(settings, given):
        raise StartError(wrong)
    return Asked(settings, [*notes, *more, *_idle(settings, given)], given)


def check_files(settings: TrainingSettings, find: Callable[[str], object] = find_spec) -> None:
    """Whether model, data and packages are there, before anything is loaded; raises StartError."""
    checkpoint = checkpoint_at(Path(settings.model_name_or_path))
    if checkpoint.gguf:
        raise StartError(
            f"--model_name_or_path {checkpoint.path} is a GGUF file, whose weights are rounded; "
            "give the directory of the model that it was made from"
        )
    for flag, files in (
        ("data_path", settings.data_path),
        ("eval_data_path", settings.eval_data_path),
    ):
        for file in files:
            if not Path(file).is_file():
                raise StartError(f"--{flag} {file} is no file; give JSON or JSONL")
    if "tensorboard" in settings.report_to and find("tensorboard") is None:
        raise StartError("--report_to tensorboard wants a package: pip install tensorboard")


def _method(settings: TrainingSettings, given: Mapping[str, str]) -> tuple[str, list[str]]:
    """FastChat has a program of its own for LoRA, so its flags alone ask for one here."""
    flags = [name for name in OF_LORA if name in given]
    if settings.q_lora and settings.method not in LORAS and "method" in given:
        raise StartError(f"--q_lora True and --method {settings.method} exclude each other")
    if settings.q_lora:
        return "qlora", []
    if "method" not in given and flags:
        return "lora", [f"{spelled(flags[0])} asks for --method lora"]
    return settings.method, []


def _saving(settings: TrainingSettings, given: Mapping[str, str]) -> tuple[str, list[str]]:
    """Transformers saves by steps where nothing is said, so its --save_steps stands alone."""
    if "save_steps" in given and "save_strategy" not in given:
        return "steps", ["--save_steps asks for --save_strategy steps"]
    return settings.save_strategy, []


def _plain(settings: S, given: Mapping[str, str]) -> S:
    """One word for what has several."""
    grouped = settings.group_by_length
    if settings.train_sampling_strategy:
        grouped = settings.train_sampling_strategy == "group_by_length"
        if "group_by_length" in given and grouped != settings.group_by_length:
            raise StartError(
                f"--train_sampling_strategy {settings.train_sampling_strategy} and "
                f"--group_by_length {given['group_by_length']} exclude each other"
            )
    if settings.use_cpu and settings.device not in ("auto", "cpu"):
        raise StartError(f"--use_cpu True and --device {settings.device} exclude each other")
    resume = settings.resume_from_checkpoint
    said = {"": "auto", "true": "auto", "false": "no", "none": "auto"}
    return replace(
        settings,
        group_by_length=grouped,
        device="cpu" if settings.use_cpu else settings.device,
        max_steps=max(0, settings.max_steps),
        resume_from_checkpoint=said.get(resume.lower(), resume),
        report_to=tuple(place for place in settings.report_to if place != "none"),
        run_name=settings.run_name or Path(settings.output_dir).name,
    )


def _contradictions(wish: TrainingSettings, given: Mapping[str, str]) -> Iterator[str]:
    """Sentences on what cannot be done together."""
    yield from _missing(wish)
    if wish.fp16 and wish.bf16:
        yield "--fp16 True and --bf16 True exclude each other; give the one that the device has"
    if wish.num_train_epochs == 0 and wish.max_steps == 0:
        yield "--num_train_epochs 0 trains nothing; give more, or --max_steps"
    yield from _optimiser(wish)
    if wish.method not in LORAS:
        yield from _strange(wish, given, OF_LORA, "lora")
    if wish.method != "ptuning":
        yield from _strange(wish, given, OF_PTUNING, "ptuning")
    yield from _evaluation(wish)


def _optimiser(wish: TrainingSettings) -> Iterator[str]:
    for name in ("adam_beta1", "adam_beta2"):
        if getattr(wish, name) == 1:
            yield f"--{name} wants less than 1: with 1 no gradient counts"
    for name in ("warmup_steps", "warmup_ratio"):
        if wish.lr_scheduler_type == "constant" and getattr(wish, name):
            yield (
                f"--lr_scheduler_type constant has no warm-up, and --{name} is "
                f"{getattr(wish, name):g}; give constant_with_warmup, or leave it out"
            )


def _missing(wish: TrainingSettings) -> Iterator[str]:
    wanted = {
        "--model_name_or_path DIR": wish.model_name_or_path,
        "--data_path FILE": wish.data_path,
        "--output_dir DIR": wish.output_dir,
    }
    if missing := [flag for flag, value in wanted.items() if not value]:
        yield f"give {', '.join(missing)}"


def _strange(
    wish: TrainingSettings, given: Mapping[str, str], names: Sequence[str], method: str
) -> Iterator[str]:
    """Flags of another method, but FastChat's that say nothing."""
    for name in names:
        if name in given and not (name == "q_lora" or name == "--lora-bias"):
            yield f"{spelled(name)} belongs to --method {method}, not to {wish.method}"


def _evaluation(wish: TrainingSettings) -> Iterator[str]:
    never = wish.eval_strategy == "no"
    if wish.eval_share >= 1:
        yield f"--eval_share wants less than 1, not {wish.eval_share}: nothing would be trained"
    if wish.eval_share and wish.eval_data_path:
        yield "--eval_share and --eval_data_path exclude each other"
    if wish.eval_share and never:
        yield "--eval_share keeps samples that --eval_strategy no never looks at; give steps"
    if not never and not wish.eval_share and not wish.eval_data_path:
        yield (
            f"--eval_strategy {wish.eval_strategy} has nothing to evaluate on; give "
            "--eval_data_path FILE or --eval_share"
        )
    if wish.early_stopping_patience and never:
        yield "--early_stopping_patience needs --eval_strategy steps or epoch"
    if wish.load_best_model_at_end:
        yield from _best(wish)


def _best(wish: TrainingSettings) -> Iterator[str]:
    """The best checkpoint is known where each one was evaluated."""
    evaluates, saves = wish.eval_strategy, wish.save_strategy
    if "no" in (evaluates, saves) or evaluates != saves:
        yield (
            "--load_best_model_at_end needs --eval_strategy and --save_strategy to be the same, "
            f"steps or epoch, not {evaluates} and {saves}"
        )
    elif evaluates == "steps" and wish.save_steps % (wish.eval_steps or wish.logging_steps):
        yield (
            f"--load_best_model_at_end needs --save_steps {wish.save_steps} to be a multiple of "
            f"the {wish.eval_steps or wish.logging_steps} steps between evaluations"
        )


def _idle(wish: TrainingSettings, given: Mapping[str, str]) -> list[str]:
    notes = [f"{spelled(flag)} changes nothing: {IDLE[flag]}" for flag in given if flag in IDLE]
    needed = {
        "eval_data_path": (wish.eval_strategy != "no", "--eval_strategy is no"),
        "eval_steps": (wish.eval_strategy == "steps", f"--eval_strategy is {wish.eval_strategy}"),
        "per_device_eval_batch_size": (wish.eval_strategy != "no", "--eval_strategy is no"),
        "lazy_preprocess": (False, "samples are tokenised once, before the first step"),
        "padding_side": (False, "padding is masked, so that either side trains the same"),
        "fsdp_transformer_layer_cls_to_wrap": (wish.fsdp, "--fsdp is not given"),
        "save_steps": (wish.save_strategy == "steps", f"--save_strategy is {wish.save_strategy}"),
        "early_stopping_threshold": (
            wish.early_stopping_patience,
            "--early_stopping_patience is 0",
        ),
        "logging_dir": ("tensorboard" in wish.report_to, "--report_to tensorboard is not given"),
    }
    for name, (counts, why) in needed.items():
        if name in given and not counts:
            notes.append(f"--{name} changes nothing: {why}")
    return notes


def spelled(name: str) -> str:
    """A field or a flag as transformers writes it."""
    flag = name if name.startswith("--") else flag_name(name)
    return "--" + flag[2:].replace("-", "_")
