"""The command line of a training: FastChat's and transformers' words, and what contradicts."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from danlu.adapters.errors import StartError
from danlu.adapters.host.settings import flag_name
from danlu.training.asking import Asked, asked, check_files
from danlu.training.settings import TrainingSettings

SEED = """
    --model_name_or_path /home/models/chatglm2-6b
    --data_path /home/datasets/evol-instruct-chinese/evol-instruct-chinese_subset.json
    --fp16 True
    --output_dir output_chatglm
    --num_train_epochs 5
    --per_device_train_batch_size 8
    --per_device_eval_batch_size 1
    --gradient_accumulation_steps 1
    --evaluation_strategy "no"
    --save_strategy "epoch"
    --learning_rate 5e-5
    --weight_decay 0.
    --lr_scheduler_type "cosine"
    --logging_steps 1
    --fsdp "full_shard auto_wrap"
    --model_max_length 512
    --gradient_checkpointing True
    --lazy_preprocess True
    --trust_remote_code True
    --padding_side left
"""
NEEDED = "--model_name_or_path M --data_path D --output_dir O "


def wish(flags: str = "", **environ: str) -> Asked[TrainingSettings]:
    return asked(TrainingSettings, shlex.split(NEEDED + flags), environ)


def test_the_seeds_command_means_what_it_says() -> None:
    found = asked(TrainingSettings, shlex.split(SEED), {})
    assert [note.partition(" changes nothing: ")[0] for note in found.notes] == [
        "--per_device_eval_batch_size",
        "--lazy_preprocess",
        "--padding_side",
    ]
    assert found.settings == TrainingSettings(
        model_name_or_path="/home/models/chatglm2-6b",
        data_path=("/home/datasets/evol-instruct-chinese/evol-instruct-chinese_subset.json",),
        fp16=True,
        output_dir="output_chatglm",
        run_name="output_chatglm",
        num_train_epochs=5.0,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=1,
        eval_strategy="no",
        save_strategy="epoch",
        learning_rate=5e-5,
        weight_decay=0.0,
        lr_scheduler_type="cosine",
        logging_steps=1,
        fsdp="full_shard auto_wrap",
        model_max_length=512,
        gradient_checkpointing=True,
        lazy_preprocess=True,
        trust_remote_code=True,
        padding_side="left",
    )


def test_hyphens_are_the_same_flags() -> None:
    hyphened = [word.replace("_", "-") if word[:2] == "--" else word for word in shlex.split(SEED)]
    assert asked(TrainingSettings, hyphened, {}) == asked(TrainingSettings, shlex.split(SEED), {})


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("--evaluation_strategy steps --eval_data_path E", "eval_strategy", "steps"),
        ("--eval_strategy steps --eval_data_path E", "eval_strategy", "steps"),
        ("--no_cuda", "device", "cpu"),
        ("--use_cpu True", "device", "cpu"),
        ("--per_gpu_train_batch_size 3", "per_device_train_batch_size", 3),
        ("--per_gpu_eval_batch_size 3", "per_device_eval_batch_size", 3),
        ("--train_sampling_strategy random", "group_by_length", False),
        ("--train_sampling_strategy group_by_length", "group_by_length", True),
        ("--group_by_length False", "group_by_length", False),
        ("--activation_checkpointing True", "gradient_checkpointing", True),
        ("--warmup_steps 0.1", "warmup_steps", 0.1),
        ("--max_steps -1", "max_steps", 0),
        ("--report_to none", "report_to", ()),
        ("--report_to none tensorboard", "report_to", ("tensorboard",)),
        ("--lora_target_modules a b", "lora_target_modules", ("a", "b")),
        ("--lora_r 8", "method", "lora"),
        ("--q_lora False", "method", "lora"),
        ("--q_lora True", "method", "qlora"),
        ("--q_lora True --method lora", "method", "qlora"),
        ("--method lora --lora_r 4 --lora_bias none", "lora_r", 4),
        ("--resume_from_checkpoint True", "resume_from_checkpoint", "auto"),
        ("--resume_from_checkpoint False", "resume_from_checkpoint", "no"),
        ("--resume_from_checkpoint O/checkpoint-2", "resume_from_checkpoint", "O/checkpoint-2"),
        ("--tf32 True", "tf32", True),
        ("--run_name tango", "run_name", "tango"),
        ("--save_steps 5", "save_strategy", "steps"),
        ("--data_path E", "data_path", ("D", "E")),
    ],
)
def test_other_words_for_a_setting(flags: str, field: str, value: object) -> None:
    assert getattr(wish(flags).settings, field) == value


def test_a_variable_counts_as_a_flag_does() -> None:
    assert wish(DANLU_TRAIN_LORA_R="4").settings.method == "lora"


@pytest.mark.parametrize(
    "flags",
    [
        "--do_train",
        "--do_eval False",
        '--deepspeed ""',
        "--logging_strategy steps",
        "--save_safetensors True",
        "--push_to_hub False",
        "--local_rank -1",
        "--lora_bias none --method lora",
        "--metric_for_best_model eval_loss",
        "--lr_scheduler_type constant --warmup_ratio 0",
        "--save_strategy steps --save_steps 5",
    ],
)
def test_what_asks_for_nothing_is_let_through(flags: str) -> None:
    assert wish(flags).notes == []


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        ("--dataloader_num_workers 4", "--dataloader_num_workers changes nothing: samples are"),
        ("--cache_dir X", "--cache_dir changes nothing"),
        ("--eval_data_path E", "--eval_data_path changes nothing: --eval_strategy is no"),
        ("--eval_steps 5", "--eval_steps changes nothing: --eval_strategy is no"),
        (
            "--per_device_eval_batch_size 1",
            "--per_device_eval_batch_size changes nothing: --eval_strategy is no",
        ),
        ("--lazy_preprocess True", "--lazy_preprocess changes nothing: samples are tokenised"),
        ("--padding_side left", "--padding_side changes nothing: padding is masked"),
        (
            "--fsdp_transformer_layer_cls_to_wrap GLMBlock",
            "--fsdp_transformer_layer_cls_to_wrap changes nothing: --fsdp is not given",
        ),
        ("--save_steps 5", "--save_steps asks for --save_strategy steps"),
        (
            "--save_steps 5 --save_strategy epoch",
            "--save_steps changes nothing: --save_strategy is epoch",
        ),
        ("--logging_dir L", "--logging_dir changes nothing: --report_to tensorboard is not given"),
        ("--early_stopping_threshold 1", "--early_stopping_threshold changes nothing: --early_"),
        ("--lora_alpha 32", "--lora_alpha asks for --method lora"),
    ],
)
def test_what_changes_nothing_or_something_else_is_told(flags: str, note: str) -> None:
    (said,) = wish(flags).notes
    assert said.startswith(note)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--fp16 True --bf16 True", "--fp16 True and --bf16 True exclude each other"),
        ("--eval_strategy steps", "--eval_strategy steps has nothing to evaluate on; give"),
        ("--eval_share 0.1", "--eval_strategy no never looks at"),
        ("--eval_share 1 --eval_strategy epoch", "--eval_share wants less than 1, not 1.0"),
        ("--eval_share 0.1 --eval_data_path E", "exclude each other"),
        ("--early_stopping_patience 2", "needs --eval_strategy steps or epoch"),
        ("--load_best_model_at_end True", "to be the same, steps or epoch, not no and epoch"),
        (
            "--load_best_model_at_end --eval_data_path E --eval_strategy steps",
            "steps or epoch, not steps and epoch",
        ),
        (
            "--load_best_model_at_end --eval_data_path E --eval_strategy steps "
            "--save_strategy steps --save_steps 50 --eval_steps 20",
            "--save_steps 50 to be a multiple of the 20 steps between evaluations",
        ),
        ("--num_train_epochs 0", "--num_train_epochs 0 trains nothing"),
        ("--method full --lora_r 4", "--lora_r belongs to --method lora, not to full"),
        ("--method lora --pre_seq_len 4", "--pre_seq_len belongs to --method ptuning, not to lora"),
        ("--method ptuning --q_lora True", "--q_lora True and --method ptuning exclude"),
        ("--device npu --use_cpu True", "--use_cpu True and --device npu exclude each other"),
        ("--train_sampling_strategy random --group_by_length True", "exclude each other"),
        ("--fsdp 'hybrid_shard auto_wrap'", "--fsdp hybrid_shard is not supported"),
        (
            "--lr_scheduler_type constant --warmup_ratio 0.03",
            "constant has no warm-up, and --warmup_ratio is 0.03; give constant_with_warmup",
        ),
        ("--lr_scheduler_type constant --warmup_steps 9", "--warmup_steps is 9; give constant_wi"),
        ("--adam_beta1 1", "--adam_beta1 wants less than 1"),
        ("--deepspeed playground/zero2.json", '--deepspeed is not supported: give --fsdp "full_'),
        ("--push_to_hub", "--push-to-hub is not supported: nothing is sent anywhere"),
        ("--report_to wandb", "wants one of none, tensorboard, not 'wandb'"),
        ("--optim adafactor", "--optim wants one of adamw_torch"),
        ("--eval_delay 5", "--eval-delay is not supported"),
        ("--lora_bias all", "--lora-bias is not supported"),
        ("--lr_scheduler_type polynomial", "wants one of linear, cosine, constant"),
        ("--flash_attn True", "unrecognized arguments: --flash-attn"),
    ],
)
def test_what_cannot_be_is_one_sentence(flags: str, sentence: str) -> None:
    with pytest.raises(StartError) as caught:
        wish(flags)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(StartError) as caught:
        asked(TrainingSettings, ["--data_path", "D"], {})
    assert str(caught.value) == "give --model_name_or_path DIR, --output_dir DIR"


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([True, False]), st.integers(1, 4), st.floats(0, 1), st.text("ab_/", max_size=8)
)
def test_settings_that_are_spelled_out_are_read_back(
    fp16: bool, rows: int, rate: float, name: str
) -> None:
    flags = [
        f"--fp16={fp16}",
        f"{flag_name('per_device_train_batch_size')}={rows}",
        f"--learning_rate={rate!r}",
        f"--run_name={name}",
    ]
    found = asked(TrainingSettings, [*shlex.split(NEEDED), *flags], {}).settings
    assert (found.fp16, found.per_device_train_batch_size) == (fp16, rows)
    assert (found.learning_rate, found.run_name) == (rate, name or "O")


def _there(folder: Path) -> TrainingSettings:
    """Settings whose files are there, as far as they are looked at before a training."""
    for name in ("config.json", "tokenizer.json", "data.json"):
        (folder / name).write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # no tensor
    return TrainingSettings(
        model_name_or_path=str(folder), data_path=(str(folder / "data.json"),), output_dir="O"
    )


def test_files_that_are_there_are_taken(tmp_path: Path) -> None:
    check_files(_there(tmp_path))


@pytest.mark.parametrize("field", ["data_path", "eval_data_path"])
def test_a_file_of_data_that_is_not_there_is_named(tmp_path: Path, field: str) -> None:
    gone = ("gone.json",)
    there = _there(tmp_path)
    settings = {
        "data_path": replace(there, data_path=gone),
        "eval_data_path": replace(there, eval_data_path=gone),
    }[field]
    with pytest.raises(StartError, match=f"--{field} gone.json is no file; give JSON or JSONL"):
        check_files(settings)


def test_a_gguf_file_is_not_trained(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    settings = replace(_there(tmp_path), model_name_or_path=str(tmp_path / "model.gguf"))
    with pytest.raises(StartError, match="is a GGUF file, whose weights are rounded"):
        check_files(settings)


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = replace(_there(tmp_path), report_to=("tensorboard",))
    check_files(settings, find=lambda name: name)
    with pytest.raises(StartError, match="pip install tensorboard"):
        check_files(settings, find=lambda _: None)
