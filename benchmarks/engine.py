"""The engine beside the bare model step, stock FastChat, transformers' own ways, and llama.cpp.

    python -m benchmarks.engine [--model glm] [--engine thread] [--streams 1,8,16] [--rounds 5]

Every contender is a process of its own with the same weights, prompts, number format and number of
threads; they take turns, and ratios are those of one round. One that cannot take part is named with
the reason. `--contenders engine,bare` leaves the others out; `scripts/test-needs` makes FastChat's
environment and `benchmarks/llama-env` llama.cpp's.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, PretrainedConfig

from . import limits, report
from .bars import verdicts
from .contenders.options import Options
from .contenders.seam import engine_flags
from .contest import Standing, Task
from .models import MODELS, prompts, tokenizer_of
from .referee import ROOT, Process, module, referee

LLAMA = ROOT / ".venv-llama" / "bin" / "python"
SEVERAL = ("engine", "int8", "int4", "stack")  # ours, which know --engine
GGUF = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # llama.cpp's words
INT8 = ("--load-8bit",)
INT4 = ("--quantization", "int4")
SEED = 20


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    directory = MODELS[args.model].directory()
    config = AutoConfig.from_pretrained(directory)
    before = _best(config, args)
    standings = _contest(directory, args)
    after = _best(config, args)
    best = (max(before[0], after[0]), max(before[1], after[1]))
    print("\n".join([*_page(standings, args), *_limit(standings, config, best, args)]))
    if args.json:
        plain = {name: asdict(standing) for name, standing in standings.items()}
        Path(args.json).write_text(json.dumps({"asked": vars(args), "standings": plain}))


def _contest(directory: Path, args: argparse.Namespace) -> dict[str, Standing]:
    """What came of it; after Ctrl-C, what had come of it by then."""
    longest = args.prompt_tokens + args.new_tokens
    options = Options(directory, args.dtype, args.threads, max(args.streams), longest, ())
    processes: list[Process] = []
    with ExitStack() as ending:
        try:
            for name in args.contenders:
                env = {"OMP_NUM_THREADS": str(args.threads)}
                processes.append(Process(name, _command(name, options, args), env))
                ending.callback(processes[-1].close)
            referee(processes, _tasks(directory, args), args.rounds, say=_say)
        except KeyboardInterrupt:
            _say("interrupted; what was measured until now:")
    return {process.standing.name: process.standing for process in processes}


def _tasks(directory: Path, args: argparse.Namespace) -> dict[int, Callable[[int], Task]]:
    """By streams. Other prompts each round, the same for everybody: who keeps prompts gains
    nothing."""
    contest, tokenizer = MODELS[args.model], tokenizer_of(directory)

    def task(streams: int, number: int) -> Task:
        chance = random.Random(f"{SEED} {streams} {number}")
        size = args.prompt_tokens
        return Task(prompts(tokenizer, contest, streams, size, chance), args.new_tokens)

    return {streams: partial(task, streams) for streams in args.streams}


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _command(name: str, options: Options, args: argparse.Namespace) -> list[str]:
    """The command line of a contender's process."""
    more: tuple[str, ...] = ()
    if name in SEVERAL:
        quantised = {"int8": INT8, "int4": INT4}.get(name, ())
        more = (*engine_flags(args.engine), *quantised, *args.worker_flags)
    program = {"engine": "seam", "int8": "seam", "int4": "seam"}.get(name, name)
    if program.startswith("bare"):
        return module("bare", *options.flags(), *filter(None, [program.partition(":")[2]]))
    if program.startswith("llama"):
        precision = name.partition(":")[2] or GGUF[options.dtype]
        python = str(LLAMA) if LLAMA.exists() else sys.executable
        return module("llama", *options.flags(), precision, python=python)
    return module(program, *options.flags(), *more)


def _page(standings: Mapping[str, Standing], args: argparse.Namespace) -> list[str]:
    what = (
        f"{args.model}, {args.dtype}, {args.threads} threads, prompts of {args.prompt_tokens} and "
        f"answers of {args.new_tokens} tokens, {args.rounds} rounds, engine {args.engine}; "
        f"{machine()}"
    )
    return [
        what,
        "",
        *report.bars(verdicts(standings, set(args.streams))),
        *report.rates(standings, args.streams, "bare"),
        *report.waiting(standings, args.streams),
        *report.memory(standings),
    ]


def _limit(
    standings: Mapping[str, Standing],
    config: PretrainedConfig,
    best: tuple[float, float],
    args: argparse.Namespace,
) -> list[str]:
    """How near everyone is to what memory and arithmetic allow."""
    bandwidth, peak = best
    reads = limits.reads_of(config)
    context = args.prompt_tokens + args.new_tokens / 2
    rows = []
    for name, standing in standings.items():
        precision = precision_of(name, args.dtype)
        for streams in args.streams:
            found = [r for r in standing.rates(streams, decode=True) if r is not None]
            if not found:
                continue
            cache = 2.0 if name.startswith("llama") else limits.BYTES[args.dtype]
            size = reads.bytes_of_step(precision, streams, context, cache)
            rate = statistics.median(found)
            limit = bandwidth / size * streams
            cells = [f"{size / 1e6:.0f}", f"{rate:.1f}", f"{limit:.1f}", f"{rate / limit:.0%}"]
            rows.append([name, str(streams), *cells])
    lines = report.table(
        ["decode", "streams", "MB a step", "tokens/s", "at the limit", "of the limit"], rows
    )
    return [
        f"Read bandwidth {bandwidth / 1e9:.1f} GB/s with {args.threads} threads; a matrix product "
        f"in {args.dtype} {peak / 1e9:.0f} GFLOP/s.",
        "",
        *lines,
        *_prefill(standings, reads, peak, args),
    ]


def _prefill(
    standings: Mapping[str, Standing], reads: limits.Reads, peak: float, args: argparse.Namespace
) -> list[str]:
    rows = []
    for name, standing in standings.items():
        for streams in args.streams:
            firsts = [max(one.firsts) for one in standing.outcomes.get(streams, []) if one.firsts]
            if firsts:
                tokens, seconds = streams * args.prompt_tokens, statistics.median(firsts)
                used = reads.flops(tokens) / seconds / peak
                rows.append([name, str(streams), f"{tokens / seconds:.0f}", f"{used:.0%}"])
    head = ["prompts", "streams", "tokens/s until all have begun", "of the matrix product"]
    return report.table(head, rows)


def _best(config: PretrainedConfig, args: argparse.Namespace) -> tuple[float, float]:
    """What the machine can do now: bytes, and operations, a second."""
    arithmetic = limits.arithmetic(args.threads, args.dtype, config.hidden_size)
    return limits.read_bandwidth(args.threads), arithmetic


def precision_of(name: str, dtype: str) -> str:
    """The number format of a contender's weights."""
    variant = name.partition(":")[2] or name
    return variant if variant in limits.BYTES else dtype


def machine() -> str:
    libraries = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{_processor()}, {os.cpu_count()} cores, {libraries}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    everyone = (
        "engine,stack,bare,bare:torch,generate,continuous,fastchat,int8,int4,"
        "llama,llama:q8_0,llama:q4_0"
    )
    parser.add_argument("--model", default="glm", choices=tuple(MODELS))
    parser.add_argument("--engine", default="batching", help="the worker's engine")
    parser.add_argument(
        "--worker-flags", default=[], type=str.split, help="further flags of the worker's, quoted"
    )
    parser.add_argument(
        "--contenders",
        default=everyone.split(","),
        type=lambda t: t.split(","),
        help="who takes part; bare:compile, which compiles for minutes, only where it is named",
    )
    parser.add_argument("--streams", default=[1, 8, 16], type=_numbers)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--prompt-tokens", default=64, type=int)
    parser.add_argument("--new-tokens", default=64, type=int)
    parser.add_argument("--threads", default=os.cpu_count() or 1, type=int)
    parser.add_argument("--dtype", default="bfloat16", choices=tuple(GGUF))
    parser.add_argument("--json", default="", help="a file for every outcome")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
