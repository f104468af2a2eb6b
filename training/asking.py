"""From a command line to settings that can be trained with, or a sentence that says why not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..adapters.errors import StartError
from ..adapters.host.settings import flag_name, given_settings
from .flags import IDLE, OFF, REFUSED
from .settings import PREFIX, TrainingSettings

LORAS = ("lora", "qlora")
OF_LORA = ("q_lora", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "--lora-bias")
OF_PTUNING = ("pre_seq_len", "prefix_projection")


def training_settings(
    argv: Sequence[str], environ: Mapping[str, str], prog: str = "python -m danlu.training"
) -> tuple[TrainingSettings, list[str]]:
    """What is asked for, checked, and sentences on what of it changes nothing.

    Raises StartError for what is illegal, unknown, refused or contradicts itself. Looks at no file.
    """
    settings, given = given_settings(
        TrainingSettings,
        argv,
        environ,
        PREFIX,
        prog=prog,
        refused=REFUSED,
        off=OFF,
        idle=IDLE,
        as_transformers=True,
    )
    settings, notes = _method(settings, given)
    settings = _plain(settings, given)
    for wrong in _contradictions(settings, given):
        raise StartError(wrong)
    return settings, [*notes, *_idle(settings, given)]


def _method(
    settings: TrainingSettings, given: Mapping[str, str]
) -> tuple[TrainingSettings, list[str]]:
    """FastChat has a program of its own for LoRA, so its flags alone ask for one here."""
    asked = [name for name in OF_LORA if name in given]
    if settings.q_lora and settings.method not in LORAS and "method" in given:
        raise StartError(f"--q_lora True and --method {settings.method} exclude each other")
    if settings.q_lora:
        return replace(settings, method="qlora"), []
    if "method" not in given and asked:
        note = f"{_spelled(asked[0])} asks for --method lora"
        return replace(settings, method="lora"), [note]
    return settings, []


def _plain(settings: TrainingSettings, given: Mapping[str, str]) -> TrainingSettings:
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


def _contradictions(asked: TrainingSettings, given: Mapping[str, str]) -> Iterator[str]:
    """Sentences on what cannot be done together."""
    yield from _missing(asked)
    if asked.fp16 and asked.bf16:
        yield "--fp16 True and --bf16 True exclude each other; give the one that the device has"
    if asked.num_train_epochs == 0 and asked.max_steps == 0:
        yield "--num_train_epochs 0 trains nothing; give more, or --max_steps"
    if asked.method not in LORAS:
        yield from _strange(asked, given, OF_LORA, "lora")
    if asked.method != "ptuning":
        yield from _strange(asked, given, OF_PTUNING, "ptuning")
    yield from _evaluation(asked)


def _missing(asked: TrainingSettings) -> Iterator[str]:
    wanted = {
        "--model_name_or_path DIR": asked.model_name_or_path,
        "--data_path FILE": asked.data_path,
        "--output_dir DIR": asked.output_dir,
    }
    if missing := [flag for flag, value in wanted.items() if not value]:
        yield f"give {', '.join(missing)}"


def _strange(
    asked: TrainingSettings, given: Mapping[str, str], names: Sequence[str], method: str
) -> Iterator[str]:
    """Flags of another method, but FastChat's that say nothing."""
    for name in names:
        if name in given and not (name == "q_lora" or name == "--lora-bias"):
            yield f"{_spelled(name)} belongs to --method {method}, not to {asked.method}"


def _evaluation(asked: TrainingSettings) -> Iterator[str]:
    never = asked.eval_strategy == "no"
    if asked.eval_share >= 1:
        yield f"--eval_share wants less than 1, not {asked.eval_share}: nothing would be trained"
    if asked.eval_share and asked.eval_data_path:
        yield "--eval_share and --eval_data_path exclude each other"
    if asked.eval_share and never:
        yield "--eval_share keeps samples that --eval_strategy no never looks at; give steps or epoch"
    if not never and not asked.eval_share and not asked.eval_data_path:
        yield (
            f"--eval_strategy {asked.eval_strategy} has nothing to evaluate on; give "
            "--eval_data_path FILE or --eval_share"
        )
    if asked.early_stopping_patience and never:
        yield "--early_stopping_patience needs --eval_strategy steps or epoch"
    if asked.load_best_model_at_end:
        yield from _best(asked)


def _best(asked: TrainingSettings) -> Iterator[str]:
    """The best checkpoint is known where each one was evaluated."""
    evaluates, saves = asked.eval_strategy, asked.save_strategy
    if "no" in (evaluates, saves) or evaluates != saves:
        yield (
            "--load_best_model_at_end needs --eval_strategy and --save_strategy to be the same, "
            f"steps or epoch, not {evaluates} and {saves}"
        )
    elif evaluates == "steps" and asked.save_steps % (asked.eval_steps or asked.logging_steps):
        yield (
            f"--load_best_model_at_end needs --save_steps {asked.save_steps} to be a multiple of "
            f"the {asked.eval_steps or asked.logging_steps} steps between evaluations"
        )


def _idle(asked: TrainingSettings, given: Mapping[str, str]) -> list[str]:
    notes = [f"{_spelled(flag)} changes nothing: {IDLE[flag]}" for flag in given if flag in IDLE]
    if asked.eval_data_path and asked.eval_strategy == "no":
        notes.append("--eval_data_path changes nothing: --eval_strategy is no")
    return notes


def _spelled(name: str) -> str:
    """A field or a flag as transformers writes it."""
    flag = name if name.startswith("--") else flag_name(name)
    return "--" + flag[2:].replace("-", "_")
