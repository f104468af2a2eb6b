"""No flag of transformers' is unknown: each is a setting, refused by name, or idle."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from danlu.adapters.host.settings import flag_name
from danlu.training.flags import IDLE, OFF, REFUSED
from danlu.training.settings import TrainingSettings

OLD = (  # names of transformers 4 that the installed one no longer has
    "evaluation_strategy no_cuda use_mps_device use_ipex overwrite_output_dir logging_dir "
    "per_gpu_train_batch_size per_gpu_eval_batch_size warmup_ratio group_by_length adafactor "
    "half_precision_backend fp16_backend fp16_opt_level fsdp_min_num_params torchdynamo "
    "fsdp_transformer_layer_cls_to_wrap save_safetensors tpu_num_cores past_index ray_scope "
    "include_tokens_per_second include_inputs_for_metrics jit_mode_eval mp_parameters "
    "push_to_hub_model_id push_to_hub_organization push_to_hub_token dispatch_batches "
    "split_batches tpu_metrics_debug use_legacy_prediction_loop"
)
FASTCHAT = (  # of train.py and train_lora.py
    "model_name_or_path trust_remote_code padding_side data_path eval_data_path lazy_preprocess "
    "cache_dir optim model_max_length lora_r lora_alpha lora_dropout lora_target_modules "
    "lora_weight_path lora_bias q_lora"
)


def _known() -> set[str]:
    settings = {flag_name(field.name) for field in fields(TrainingSettings)}
    aliases = {name for field in fields(TrainingSettings) for name in field.metadata["aliases"]}
    return settings | aliases | set(REFUSED) | set(IDLE)


@pytest.mark.parametrize("origin", ["installed", "old", "fastchat"])
def test_every_flag_of_theirs_is_known(origin: str) -> None:
    installed = [field.name for field in fields(TrainingArguments) if field.init]
    names = {"installed": installed, "old": OLD.split(), "fastchat": FASTCHAT.split()}[origin]
    assert [name for name in names if flag_name(name) not in _known()] == []


def test_a_flag_has_one_fate() -> None:
    settings = {flag_name(field.name) for field in fields(TrainingSettings)}
    assert not settings & set(REFUSED)
    assert not settings & set(IDLE)
    assert not set(REFUSED) & set(IDLE)


def test_only_what_is_refused_has_harmless_values() -> None:
    assert set(OFF) <= set(REFUSED)
    assert all(value == value.lower() for values in OFF.values() for value in values)
