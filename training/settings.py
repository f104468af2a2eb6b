"""What can be set on a training: FastChat's flags and transformers', under old and new names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..adapters.cache import cache_root
from ..adapters.host.settings import knob

PREFIX = "DANLU_TRAIN_"
STRATEGIES = ("no", "steps", "epoch")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Fine-tunes a model on conversations."""

    model_name_or_path: str = knob(
        "", "directory of the model to start from; required", aliases=("--model-path",)
    )
    data_path: tuple[str, ...] = knob((), "JSON or JSONL files of conversations; required")
    eval_data_path: tuple[str, ...] = knob((), "such files that are only evaluated on")
    eval_share: float = knob(
        0.0, "part of the data that is kept for evaluation, where no file for it is given", low=0
    )
    output_dir: str = knob("", "directory of the run and of what comes out of it; required")
    overwrite_output_dir: bool = knob(False, "begin anew where output_dir holds a run")
    method: str = knob(
        "full",
        "what is trained: all weights, or beside frozen ones a LoRA, a LoRA on packed weights "
        "(qlora), or a prefix of P-Tuning v2 (ptuning); lora if not given, but a flag of a LoRA's",
        choices=("full", "lora", "qlora", "ptuning"),
    )
    trust_remote_code: bool = knob(
        False, "run Python code beside the model's weights; a ChatGLM's is never run"
    )
    chatglm_generation: int | None = knob(
        None, "2 or 3, for a ChatGLM whose config.json does not tell which it is", low=2, high=3
    )
    # The data.
    model_max_length: int = knob(512, "tokens of a sample; longer ones lose their beginning", low=8)
    answers: str = knob(
        "all", "which answers of a conversation are trained", choices=("all", "last")
    )
    packing: bool = knob(False, "put several samples into a row, each seeing only itself")
    group_by_length: bool = knob(True, "batch samples of similar length")
    train_sampling_strategy: str = knob(
        "",
        "transformers' newer word for group_by_length or not",
        choices=("", "random", "group_by_length"),
    )
    lazy_preprocess: bool = knob(
        True, "FastChat's; samples are tokenised once, before the first step, and lie in a file"
    )
    padding_side: str = knob(
        "right",
        "FastChat's; rows are masked, so that either trains the same",
        choices=("left", "right"),
    )
    # The course.
    num_train_epochs: float = knob(3.0, "times that all samples are seen", low=0)
    max_steps: int = knob(
        0, "steps in all, whatever the epochs; 0 or -1 for as many as they take", low=-1
    )
    per_device_train_batch_size: int = knob(
        8,
        "samples, or packed rows, of a device at a time",
        low=1,
        aliases=("--per-gpu-train-batch-size",),
    )
    per_device_eval_batch_size: int = knob(
        8, "the same while evaluating", low=1, aliases=("--per-gpu-eval-batch-size",)
    )
    gradient_accumulation_steps: int = knob(1, "batches to a step", low=1)
    optim: str = knob(
        "adamw_torch",
        "names of the one optimiser there is, AdamW; it is fused where the device can do that",
        choices=("adamw_torch", "adamw_torch_fused", "adamw_torch_npu_fused"),
    )
    learning_rate: float = knob(5e-5, "at its highest", low=0)
    weight_decay: float = knob(0.0, "of AdamW, on matrices", low=0)
    adam_beta1: float = knob(0.9, "of AdamW", low=0, high=1)
    adam_beta2: float = knob(0.999, "of AdamW", low=0, high=1)
    adam_epsilon: float = knob(1e-8, "of AdamW", low=0)
    max_grad_norm: float = knob(1.0, "longer gradients are shortened to it; 0 for never", low=0)
    lr_scheduler_type: str = knob(
        "linear",
        "how the learning rate goes on after the warm-up",
        choices=("linear", "cosine", "constant", "constant_with_warmup"),
    )
    warmup_ratio: float = knob(0.0, "part of all steps in which the rate rises", low=0, high=1)
    warmup_steps: float = knob(
        0.0, "the same in steps, or below 1 as a part; wins over warmup_ratio", low=0
    )
    seed: int = knob(42, "of the order of samples, and of all that is drawn", low=0)
    # Numbers and memory.
    fp16: bool = knob(False, "compute in float16, with a scaled loss")
    bf16: bool = knob(False, "compute in bfloat16")
    tf32: bool | None = knob(None, "let a GPU round float32 products to TF32")
    gradient_checkpointing: bool = knob(
        False,
        "compute layers twice instead of keeping them",
        aliases=("--activation-checkpointing",),
    )
    # LoRA and P-Tuning v2.
    q_lora: bool = knob(False, "FastChat's word for --method qlora")
    lora_r: int = knob(8, "rank of a LoRA", low=1)
    lora_alpha: float = knob(16.0, "its scale, times the rank", low=0)
    lora_dropout: float = knob(0.05, "part of its inputs that is dropped", low=0, high=1)
    lora_target_modules: tuple[str, ...] = knob(
        (),
        "names of its linear layers, a ChatGLM's original ones too; all in the layers if not given",
    )
    pre_seq_len: int = knob(128, "tokens of a prefix", low=1)
    prefix_projection: bool = knob(False, "put a small network behind the prefix's embedding")
    # Devices.
    device: str = knob("auto", "auto, cpu, cuda, npu; a process takes the card of its local rank")
    use_cpu: bool = knob(False, "the same as --device cpu", aliases=("--no-cuda",))
    fsdp: str = knob("", 'how several processes share the model: "full_shard auto_wrap", or whole')
    fsdp_transformer_layer_cls_to_wrap: str = knob(
        "", "class of the layers that are sharded one by one; found out if not given"
    )
    ddp_timeout: float = knob(1800.0, "seconds that a process waits for another", low=1)
    # Evaluation.
    eval_strategy: str = knob(
        "no", "when to evaluate", choices=STRATEGIES, aliases=("--evaluation-strategy",)
    )
    eval_steps: int = knob(0, "steps from one evaluation to the next; logging_steps if 0", low=0)
    load_best_model_at_end: bool = knob(
        False, "write the checkpoint of the least evaluation loss at the end"
    )
    early_stopping_patience: int = knob(
        0, "evaluations without a lower loss after which it ends; 0 for never", low=0
    )
    early_stopping_threshold: float = knob(0.0, "what a lower loss must be lower by", low=0)
    # Checkpoints and logs.
    save_strategy: str = knob("epoch", "when to write a checkpoint", choices=STRATEGIES)
    save_steps: int = knob(500, "steps from one checkpoint to the next", low=1)
    save_total_limit: int = knob(0, "checkpoints that are kept, the latest; 0 for all", low=0)
    resume_from_checkpoint: str = knob(
        "auto", "a checkpoint to go on from; auto for output_dir's latest, no for none"
    )
    logging_steps: int = knob(10, "steps from one line of the log to the next", low=1)
    logging_first_step: bool = knob(False, "a line for the first step, too")
    report_to: tuple[str, ...] = knob(
        (), "where else the curves go", choices=("none", "tensorboard")
    )
    logging_dir: str = knob("", "TensorBoard's directory; output_dir/runs if not given")
    run_name: str = knob("", "what the run is called; output_dir's last part if not given")
    disable_tqdm: bool = knob(False, "no progress bar")


def samples_root(environ: Mapping[str, str]) -> Path:
    """Where tokenised samples are kept for the next run; raises StartError."""
    return cache_root(environ) / "training"
